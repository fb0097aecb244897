/*
 * Stands before the C library in httpd: a message with a descriptor goes only when the other side has closed its
 * connection, as if the worker had been stopped between connect and send. With LATE_SENDMSG each of them, with
 * LATE_SENDMSG_ONCE the first alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    const char *once = getenv("LATE_SENDMSG_ONCE");
    const struct cmsghdr *first = CMSG_FIRSTHDR(message);

    /* The file is there for the first alone, of whichever process. */
    if (first != NULL && first->cmsg_type == SCM_RIGHTS && first->cmsg_level == SOL_SOCKET
        && (getenv("LATE_SENDMSG") != NULL || (once != NULL && unlink(once) == 0))) {
        struct pollfd peer = { .fd = fd, .events = 0 };

        poll(&peer, 1, 20000);
    }
    return real(fd, message, flags);
}
