/*
 * Data that is longer than a message: it goes in a descriptor of its own, a memfd that nobody can change any
 * more. docs/protocol.md describes it.
 */
#ifndef _GNU_SOURCE /* memfd_create, F_ADD_SEALS */
#define _GNU_SOURCE
#endif

#include "mod_socket_handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "apr_strings.h"

#define VERSION_LINE "handoff-data/1"

/* 6.3; without it, a kernel with vm.memfd_noexec = 2 refuses. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int create_memory(void)
{
    int fd = memfd_create("handoff-data", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create("handoff-data", MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

static int write_all(int fd, const handoff_data *data)
{
    apr_size_t written = 0;

    while (written < data->length) {
        ssize_t count = write(fd, data->text + written, data->length - written);

        if (count < 0 && errno != EINTR)
            return -1;
        written += count > 0 ? (apr_size_t)count : 0;
    }
    return 0;
}

int seal_data(request_rec *r, const handoff_data *data, handoff_data *line)
{
    int fd = create_memory();

    if (fd < 0)
        return -1;
    if (write_all(fd, data) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    line->text = apr_psprintf(r->pool, VERSION_LINE " %" APR_SIZE_T_FMT "\n", data->length);
    line->length = strlen(line->text);
    return fd;
}

void await_acknowledgement(request_rec *r, const daemon_socket *daemon, const char *path, int timeout_ms)
{
    struct timeval timeout = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
    char answer[64];
    ssize_t count;

    (void)setsockopt(daemon->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    do
        count = recv(daemon->fd, answer, sizeof(answer), 0);
    while (count < 0 && errno == EINTR);
    if (count >= (ssize_t)strlen(VERSION_LINE) && memcmp(answer, VERSION_LINE, strlen(VERSION_LINE)) == 0)
        return;
    if (count < 0 && errno == EAGAIN)
        LOG(APLOG_WARNING, 0, r, "the daemon at %s did not confirm a handoff of more than %d bytes in %d ms", path,
            LONGEST_MESSAGE, timeout_ms);
    else
        LOG(APLOG_ERR, 0, r, "the daemon at %s does not know handoffs of more than %d bytes, and its client got an "
            "error: update the daemon", path, LONGEST_MESSAGE);
}
