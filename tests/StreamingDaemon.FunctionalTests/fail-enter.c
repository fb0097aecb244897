/* Lets the next io_uring_enter(2) of a thread answer EINVAL, which no test can have from the kernel.
 * usage: fail-enter TID */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define IO_URING_ENTER 426 /* on every architecture */
#define SYSCALL_STOP (SIGTRAP | 0x80)

#if defined(__x86_64__)
#define RESULT(regs) (regs).rax
#elif defined(__aarch64__)
#define RESULT(regs) (regs).regs[0]
#else
#error "which register holds the result?"
#endif

int main(int argc, char **argv)
{
    pid_t tid = argc > 1 ? atoi(argv[1]) : 0;
    int status, is_next = 0;
    long signal = 0;
    struct user_regs_struct regs;
    struct iovec all = { &regs, sizeof(regs) };
    struct __ptrace_syscall_info info;

    if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
        waitpid(tid, &status, __WALL) != tid)
        goto failed;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, tid, 0, signal) || waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
            goto failed;
        /* The runtime's own signals are passed on. */
        signal = WSTOPSIG(status) == SYSCALL_STOP || status >> 16 != 0 ? 0 : WSTOPSIG(status);
        if (WSTOPSIG(status) != SYSCALL_STOP)
            continue;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
            goto failed;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            is_next = info.entry.nr == IO_URING_ENTER;
        } else if (is_next) {
            if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &all))
                goto failed;
            RESULT(regs) = -EINVAL;
            return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &all) || ptrace(PTRACE_DETACH, tid, 0, 0) ? 1 : 0;
        }
    }

failed:
    perror("fail-enter");
    return 1;
}
