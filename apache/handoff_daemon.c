/*
 * Talking to the daemon: one connection, one message.
 */
#ifndef _GNU_SOURCE /* struct ucred */
#define _GNU_SOURCE
#endif

#include "mod_socket_handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_strings.h"

static int remaining_ms(apr_time_t deadline)
{
    apr_time_t left = deadline - apr_time_now();

    return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

static int set_timeout(int fd, int ms)
{
    struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0 ? 0 : errno;
}

/*
 * One attempt. The socket blocks, bounded by SO_SNDTIMEO: the kernel then lets
 * connect() wait in the queue for a place in a full accept queue, where a
 * non-blocking socket gets EAGAIN at once.
 */
static int connect_once(const struct sockaddr_un *address, int type, int timeout_ms, int *fd)
{
    int error;

    *fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return errno;
    error = set_timeout(*fd, timeout_ms);
    if (error == 0 && connect(*fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return 0;
    if (error == 0)
        error = errno;
    close(*fd);
    return error;
}

/* EAGAIN is a full accept queue; the other two a daemon that is just (re)starting. */
static int is_transient(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOENT || error == ECONNREFUSED;
}

int connect_daemon(request_rec *r, const handoff_conf *conf, const char *path, apr_time_t deadline,
                   daemon_socket *daemon)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int retries = 0, backoff_ms = FIRST_BACKOFF_MS, error;

    if (strlen(path) >= sizeof(address.sun_path))
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);

    daemon->type = SOCK_SEQPACKET;
    for (;;) {
        /* What the send may need at the end is not spent on connecting. */
        int left = remaining_ms(deadline) - conf->send_timeout_ms;

        if (left < 1)
            left = 1;
        error = connect_once(&address, daemon->type,
                             left < conf->connect_timeout_ms ? left : conf->connect_timeout_ms, &daemon->fd);
        if (error == EPROTOTYPE && daemon->type == SOCK_SEQPACKET) {
            daemon->type = SOCK_STREAM;
            continue;
        }
        if (error == 0 || !is_transient(error) || retries >= conf->max_retries)
            break;

        left = remaining_ms(deadline);
        if (left == 0)
            break;
        LOG(APLOG_DEBUG, error, r, "connect to %s failed, retrying in %d ms",
                      path, backoff_ms < left ? backoff_ms : left);
        apr_sleep(apr_time_from_msec(backoff_ms < left ? backoff_ms : left));
        backoff_ms *= 2;
        retries++;
        /* The next daemon at this path may listen with another type. */
        daemon->type = SOCK_SEQPACKET;
    }
    if (error == 0 && retries > 0)
        LOG(APLOG_INFO, 0, r, "connected to %s on attempt %d", path,
                      retries + 1);
    return error;
}

/* For people who name the socket of php-fpm, which takes any connection. The daemon's own type has no other users. */
const char *listener_problem(request_rec *r, const daemon_socket *daemon)
{
    struct ucred listener;
    socklen_t size = sizeof(listener);
    char name[32];
    ssize_t length;
    int fd;

    if (daemon->type != SOCK_STREAM || getsockopt(daemon->fd, SOL_SOCKET, SO_PEERCRED, &listener, &size) != 0)
        return NULL;
    fd = open(apr_psprintf(r->pool, "/proc/%d/comm", (int)listener.pid), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    length = read(fd, name, sizeof(name) - 1);
    close(fd);
    name[length > 0 ? length : 0] = '\0';
    return strncmp(name, "php-fpm", 7) == 0 || strncmp(name, "php-cgi", 7) == 0
        ? "is the socket of PHP itself (FastCGI), not of the daemon" : NULL;
}

int send_handoff(const daemon_socket *daemon, int client_fd, int memory_fd, const handoff_data *data,
                 apr_time_t deadline, int *delivered)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    int descriptors[2] = { client_fd, memory_fd };
    size_t size = memory_fd < 0 ? sizeof(int) : 2 * sizeof(int);
    struct iovec iov;
    struct msghdr message;
    struct cmsghdr *rights;

    memset(&control, 0, sizeof(control));
    memset(&message, 0, sizeof(message));
    iov.iov_base = (char *)data->text;
    /* Without data one zero byte goes: a descriptor cannot travel alone. */
    iov.iov_len = data->length > 0 ? data->length : 1;
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(size);
    rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), descriptors, size);

    *delivered = 0;
    while (iov.iov_len > 0) {
        int left = remaining_ms(deadline);
        int error = left > 0 ? set_timeout(daemon->fd, left) : ETIMEDOUT;
        ssize_t sent;

        if (error != 0)
            return error;
        sent = sendmsg(daemon->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? ETIMEDOUT : errno;

        /* A stream may take less than everything; the descriptor went with the first part. */
        *delivered = 1;
        message.msg_control = NULL;
        message.msg_controllen = 0;
        iov.iov_base = (char *)iov.iov_base + sent;
        iov.iov_len -= (size_t)sent;
    }

    /* A stream has no message bounds: its end is the end of the data. */
    if (daemon->type == SOCK_STREAM)
        shutdown(daemon->fd, SHUT_WR);
    return 0;
}
