/* Tries what a taken-over daemon would, harmlessly, and prints NAME ERRNO of each attempt. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

static void attempt(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

int main(void)
{
    char character = 'x';
    attempt("unshare", syscall(SYS_unshare, 0));
    attempt("setns", syscall(SYS_setns, -1, 0));
    attempt("mount", syscall(SYS_mount, "", "", "", 0, 0));
    attempt("ptrace", syscall(SYS_ptrace, -1, 0, 0, 0));
    attempt("bpf", syscall(SYS_bpf, -1, 0, 0));
    attempt("keyctl", syscall(SYS_keyctl, -1, 0, 0, 0, 0));
    attempt("setuid", syscall(SYS_setuid, getuid()));
    attempt("chroot", syscall(SYS_chroot, "/"));
    attempt("process_vm_readv", syscall(SYS_process_vm_readv, -1, 0, 0, 0, 0, 0));
    attempt("kill", syscall(SYS_kill, getpid(), 0));
    attempt("socket(AF_PACKET)", socket(AF_PACKET, SOCK_RAW, 0));
    attempt("clone(CLONE_NEWUSER)", syscall(SYS_clone, CLONE_NEWUSER | CLONE_THREAD, 0, 0, 0, 0));
    long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    attempt("clone(SIGCHLD)", child);
    attempt("clone3", syscall(SYS_clone3, 0, 0));
    attempt("prctl(PR_SET_DUMPABLE)", prctl(PR_SET_DUMPABLE, 0));
    attempt("ioctl(TIOCSTI)", ioctl(0, TIOCSTI, &character));
    attempt("mmap(WRITE|EXEC)",
        (long)mmap(0, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1 ? -1 : 0);
    return 0;
}
