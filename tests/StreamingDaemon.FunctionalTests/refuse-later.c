/* Runs a command under a seccomp filter that answers some system calls with an errno once a file exists.
 * usage: refuse-later FILE ERRNO SYSCALL[,SYSCALL...] COMMAND [ARGUMENT...] */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 16 };

#define CALL(name) {#name, SYS_##name}
static const struct { const char *name; unsigned number; } calls[] = {
    CALL(clone), CALL(clone3), CALL(eventfd2), CALL(flock), CALL(madvise), CALL(membarrier), CALL(memfd_create), CALL(mmap),
    CALL(mprotect), CALL(munmap), CALL(openat), CALL(pipe2), CALL(prlimit64), CALL(socket), CALL(statx), CALL(sysinfo),
};

static unsigned number_of(const char *name)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, name))
            return calls[i].number;
    fprintf(stderr, "refuse-later: unknown call %s\n", name);
    exit(2);
}

static void send_descriptor(int over, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    sendmsg(over, &message, 0);
}

static int receive_descriptor(int over)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(over, &message, MSG_CMSG_CLOEXEC) > 0 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* Decides about each call, until the command has ended. */
static void supervise(int listener, const char *trigger, int error)
{
    while (1) {
        struct pollfd wait = {.fd = listener, .events = POLLIN};
        struct seccomp_notif call = {0};
        struct seccomp_notif_resp answer = {0};
        /* POLLHUP: the command has ended, and from now on the receive below returns at once. */
        if (poll(&wait, 1, -1) > 0 && wait.revents & POLLHUP)
            return;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
            if (errno == EINTR || errno == ENOENT)
                continue;
            return;
        }
        answer.id = call.id;
        if (access(trigger, F_OK) == 0)
            answer.error = -error;
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

int main(int argc, char **argv)
{
    struct sock_filter filter[MOST * 2 + 2];
    int pair[2], length = 0;
    if (argc < 5 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return 2;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (char *name = strtok(argv[3], ","); name && length < MOST * 2; name = strtok(NULL, ",")) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (fork() == 0) {
        /* This is the child, so the command keeps the process id that the test knows. Nobody waits for the
         * child, and it closes its copies of the command's pipes: so they end with the command. */
        close(0);
        close(1);
        close(2);
        int listener = receive_descriptor(pair[1]);
        close(pair[0]);
        close(pair[1]);
        if (listener >= 0)
            supervise(listener, argv[1], atoi(argv[2]));
        _exit(0);
    }
    struct sock_fprog program = {.len = length, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return 3;
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) {
        perror("seccomp");
        return 3;
    }
    send_descriptor(pair[0], listener);
    close(listener);
    execvp(argv[4], argv + 4);
    perror(argv[4]);
    return 4;
}
