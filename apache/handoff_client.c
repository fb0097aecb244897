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

/* The data as it is sent: as a message, or in memory that goes along. */
typedef struct {
    const handoff_data *data;
    handoff_data line;
    int memory_fd; /* -1 as long as the data is the message */
} parcel;

static int pack_into_memory(request_rec *r, parcel *packed)
{
    packed->memory_fd = seal_data(r, packed->data, &packed->line);
    return packed->memory_fd >= 0 ? 0 : errno;
}

static int send_parcel(request_rec *r, const daemon_socket *daemon, int client_fd, parcel *packed,
                       apr_time_t deadline, int *delivered)
{
    int error = 0;

    *delivered = 0;
    if (packed->memory_fd < 0) {
        error = send_handoff(daemon, client_fd, -1, packed->data, deadline, delivered);
        /* The system's buffers may be smaller than the kernel's default. */
        if (error != EMSGSIZE || *delivered)
            return error;
        error = pack_into_memory(r, packed);
    }
    return error != 0 ? error
                      : send_handoff(daemon, client_fd, packed->memory_fd, &packed->line, deadline, delivered);
}

/* Connects and sends. OK if the daemon has the client; then daemon is open. */
static int deliver(request_rec *r, const handoff_conf *conf, const char *path, int client_fd, parcel *packed,
                   daemon_socket *daemon)
{
    int error, delivered, refusals = 0;
    apr_time_t deadline = apr_time_now()
        + apr_time_from_msec((apr_time_t)(conf->max_retries + 1) * conf->connect_timeout_ms
                             + conf->send_timeout_ms + FIRST_BACKOFF_MS * ((1 << conf->max_retries) - 1));

    for (;;) {
        apr_time_t sent_by;
        const char *problem;

        error = connect_daemon(r, conf, path, deadline, daemon);
        if (error != 0) {
            LOG(APLOG_ERR, error, r, "cannot connect to the daemon at %s", path);
            return HTTP_SERVICE_UNAVAILABLE;
        }
        problem = listener_problem(r, daemon);
        if (problem != NULL) {
            LOG(APLOG_WARNING, 0, r, "%s %s", path, problem);
            close(daemon->fd);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        /* As late as possible: if there is no daemon, httpd answers as always. */
        problem = leave_encryption_to_kernel(r, client_fd);
        if (problem != NULL) {
            LOG(APLOG_ERR, 0, r, "%s", problem);
            close(daemon->fd);
            return HTTP_INTERNAL_SERVER_ERROR;
        }

        sent_by = apr_time_now() + apr_time_from_msec(conf->send_timeout_ms);
        if (refusals > 0 && sent_by > deadline)
            sent_by = deadline;
        error = send_parcel(r, daemon, client_fd, packed, sent_by, &delivered);
        /* The daemon closed this connection unread: it needed the place for another one, or it ends. Only we have
         * the client, so we may connect again. */
        if (error != EPIPE || delivered || refusals >= conf->max_retries)
            break;
        LOG(APLOG_DEBUG, error, r, "the daemon at %s closed before the handoff, connecting again", path);
        close(daemon->fd);
        refusals++;
    }
    if (error != 0 && !delivered) {
        close(daemon->fd);
        LOG(APLOG_ERR, error, r, "cannot send %" APR_SIZE_T_FMT " bytes to the daemon at %s", packed->data->length,
            path);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (error != 0)
        /* The daemon has the client already: two writers would be worse than a cut handoff. */
        LOG(APLOG_WARNING, error, r, "the client was handed to %s, but not all of its data", path);
    return OK;
}

int hand_over(request_rec *r, const handoff_conf *conf, const char *path, const handoff_data *data)
{
    parcel packed = { .data = data, .memory_fd = -1 };
    daemon_socket daemon;
    apr_os_sock_t client_fd;
    apr_socket_t *client = ap_get_conn_socket(r->connection);
    int dummy_fd, error, status;

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

    /* Before the connection is changed: there may be no memory. */
    error = data->length > LONGEST_MESSAGE ? pack_into_memory(r, &packed) : 0;
    if (error != 0) {
        LOG(APLOG_ERR, error, r, "no memory for %" APR_SIZE_T_FMT " bytes of data", data->length);
        close(dummy_fd);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    status = deliver(r, conf, path, client_fd, &packed, &daemon);
    if (status == OK) {
        error = release_client(r, client_fd, dummy_fd);
        if (error != 0)
            LOG(APLOG_ERR, error, r, "dup3: httpd keeps a copy of the client's "
                "socket until it closes the connection");
        LOG(APLOG_INFO, 0, r, "client handed to %s with %" APR_SIZE_T_FMT " bytes of data", path, data->length);
        if (packed.memory_fd >= 0)
            await_acknowledgement(r, &daemon, path, conf->send_timeout_ms);
        close(daemon.fd);
    } else {
        close(dummy_fd);
    }
    if (packed.memory_fd >= 0)
        close(packed.memory_fd);
    return status;
}
