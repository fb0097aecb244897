/*
 * Letting go of the client.
 */
#ifndef _GNU_SOURCE /* dup3 */
#define _GNU_SOURCE
#endif

#include "mod_socket_handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_buckets.h"
#include "apr_portable.h"

#include "http_connection.h"
#include "http_core.h"
#include "mod_core.h"

/*
 * A socket whose peer is gone: reads are at their end at once, writes fail at
 * once, and nothing that is set on it reaches anybody.
 */
static int open_dummy(void)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -1;
    close(pair[1]);
    return pair[0];
}

/*
 * httpd refers to the client's socket from many places: the core filters, the
 * MPM, mod_reqtimeout, and what they do to it after the handler (reading an
 * unread body, shutdown, O_NONBLOCK, SO_LINGER) would reach the daemon's
 * copy, for both share one open file description. So the dummy takes the place
 * of the descriptor itself, below all of them. The connection's own
 * apr_socket_t, allocated from the connection pool, owns the dummy from here
 * and closes it whenever the MPM is done with the connection, and not when
 * the request's pool goes, which is earlier.
 */
static int release_client(request_rec *r, int client_fd, int dummy_fd)
{
    conn_rec *c = r->connection;
    int error = 0;

    while (dup3(dummy_fd, client_fd, O_CLOEXEC) < 0) {
        if (errno != EINTR && errno != EBUSY) {
            error = errno;
            break;
        }
    }
    close(dummy_fd);

    /* No keep-alive, and nothing more to write: the worker is free as soon as
     * the handler returns. AP_CONN_CLOSE also keeps ap_discard_request_body()
     * from trying to read. */
    c->keepalive = AP_CONN_CLOSE;
    c->aborted = 1;
    return error;
}

apr_status_t flush_earlier_responses(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_status_t status;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    status = ap_pass_brigade(c->output_filters, bb);
    apr_brigade_cleanup(bb);
    return c->aborted ? APR_ECONNABORTED : status;
}

static void release_daemon(const daemon_socket *daemon, int dummy_fd)
{
    close(daemon->fd);
    if (dummy_fd >= 0)
        close(dummy_fd);
}

int hand_over(request_rec *r, const handoff_conf *conf, const char *path, const char *data)
{
    size_t length = strlen(data);
    apr_time_t deadline;
    daemon_socket daemon;
    apr_os_sock_t client_fd;
    apr_socket_t *client = ap_get_conn_socket(r->connection);
    const char *problem;
    int dummy_fd, error, delivered, refusals = 0;

    if (client == NULL || apr_os_sock_get(&client_fd, client) != APR_SUCCESS || client_fd < 0) {
        LOG(APLOG_ERR, 0, r, "the connection has no socket");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* Before anything is sent: there must be no way to fail between the handoff and the release. */
    dummy_fd = open_dummy();
    if (dummy_fd < 0) {
        LOG(APLOG_WARNING, errno, r, "cannot create the dummy socket");
        return HTTP_INTERNAL_SERVER_ERROR;
    }

    deadline = apr_time_now()
        + apr_time_from_msec((apr_time_t)(conf->max_retries + 1) * conf->connect_timeout_ms
                             + conf->send_timeout_ms + FIRST_BACKOFF_MS * ((1 << conf->max_retries) - 1));
    for (;;) {
        apr_time_t sent_by;

        error = connect_daemon(r, conf, path, deadline, &daemon);
        if (error != 0) {
            close(dummy_fd);
            LOG(APLOG_ERR, error, r, "cannot connect to the daemon at %s", path);
            return HTTP_SERVICE_UNAVAILABLE;
        }

        /* As late as possible: if there is no daemon, httpd answers as always. */
        problem = leave_encryption_to_kernel(r, client_fd);
        if (problem != NULL) {
            release_daemon(&daemon, dummy_fd);
            LOG(APLOG_ERR, 0, r, "%s", problem);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        sent_by = apr_time_now() + apr_time_from_msec(conf->send_timeout_ms);
        if (refusals > 0 && sent_by > deadline)
            sent_by = deadline;
        /* Without data one zero byte goes: a descriptor cannot travel alone. */
        error = send_handoff(&daemon, client_fd, data, length ? length : 1, sent_by, &delivered);
        /* The daemon gave this connection up, for another who came with a message, or because it ends: nobody
         * but us has the client, and the next connection may be luckier. */
        if (error != EPIPE || delivered || refusals >= conf->max_retries)
            break;
        LOG(APLOG_DEBUG, error, r, "the daemon at %s closed before the handoff, connecting again", path);
        close(daemon.fd);
        refusals++;
    }
    if (error != 0 && !delivered) {
        release_daemon(&daemon, dummy_fd);
        LOG(APLOG_ERR, error, r, "cannot send %" APR_SIZE_T_FMT
                      " bytes to the daemon at %s%s", length, path,
                      error == EMSGSIZE ? " (" DATA_HEADER " is larger than a Unix datagram may be)" : "");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (error != 0)
        /* The daemon has the client already: two writers would be worse than a cut handoff. */
        LOG(APLOG_WARNING, error, r, "the client was handed to %s, but not all of its data", path);
    error = release_client(r, client_fd, dummy_fd);
    release_daemon(&daemon, -1);
    if (error != 0)
        LOG(APLOG_ERR, error, r, "dup3: httpd keeps a copy of the client's "
                      "socket until it closes the connection");
    LOG(APLOG_INFO, 0, r, "client handed to %s with %" APR_SIZE_T_FMT
                  " bytes of data", path, length);
    return OK;
}
