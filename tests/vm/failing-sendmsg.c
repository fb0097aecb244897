/* Under LD_PRELOAD, no descriptor can be passed: a handoff fails at the last moment. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    const struct cmsghdr *first = CMSG_FIRSTHDR(message);

    if (first != NULL && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS) {
        errno = EMSGSIZE;
        return -1;
    }
    return real(fd, message, flags);
}
