/*
 * mod_socket_handoff: gives the client's TCP connection to another process.
 *
 * An application answers with
 *
 *     X-Socket-Handoff: /run/streaming-daemon/streaming-daemon.sock
 *     X-Handoff-Data:   {"prompt":"..."}
 *
 * (or X-Handoff-Data-1, X-Handoff-Data-2, ... if one line is too short for it)
 * and its work is done: the module connects to that Unix socket, sends the
 * data with the client's descriptor (SCM_RIGHTS), and httpd forgets the
 * connection. The daemon behind the socket writes the whole answer.
 *
 * Needs Linux (or another system with SOCK_SEQPACKET and dup3) and
 * httpd 2.4.48 or newer.
 */
#ifndef _GNU_SOURCE /* dup3 */
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_buckets.h"
#include "apr_lib.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "apr_tables.h"
#include "apr_time.h"

#include "httpd.h"
#include "handoff_json.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_ssl.h"
#include "mod_core.h"
#include "util_filter.h"

#define SOCKET_HEADER "X-Socket-Handoff"
#define DATA_HEADER "X-Handoff-Data"
/* Parts of the data, numbered from 1. FPM's lines end at 8191 bytes, name included. */
#define PART_HEADER DATA_HEADER "-"
/* A note, for a log format: %{socket-handoff}n is the path a request was handed to. */
#define HANDOFF_NOTE "socket-handoff"

/* In the application's environment if it may ask for a handoff. */
#define AVAILABLE_VARIABLE "SOCKET_HANDOFF"

#define HANDOFF_FILTER "SOCKET_HANDOFF"
#define STRIP_FILTER "SOCKET_HANDOFF_STRIP"

#define UNSET (-1)
#define DEFAULT_ALLOWED_PREFIX "/run/"
#define DEFAULT_CONNECT_TIMEOUT_MS 100
#define DEFAULT_SEND_TIMEOUT_MS 200
#define DEFAULT_MAX_RETRIES 2
#define FIRST_BACKOFF_MS 10
#define FORWARD_ALL "All"
#define FORWARD_NONE "None"
/* Bounds what a wrong number can allocate; more bytes than a socket's message holds. */
#define MAX_PARTS 9999

extern module AP_MODULE_DECLARE_DATA socket_handoff_module;
APLOG_USE_MODULE(socket_handoff);

#define LOG(level, error, r, ...) ap_log_rerror(APLOG_MARK, level, error, r, "socket handoff: " __VA_ARGS__)

static ap_filter_rec_t *handoff_filter_handle;
static ap_filter_rec_t *strip_filter_handle;

/* ---- configuration ------------------------------------------------------ */

/* Of a directory, so that a site's .htaccess can switch the module. */
typedef struct {
    int enabled;
    /* const char *, patterns; NULL where a directory says nothing. */
    apr_array_header_t *forward;
} directory_conf;

typedef struct {
    int connect_timeout_ms;
    int send_timeout_ms;
    int max_retries;
    /* NULL where a virtual host says nothing, so that it inherits. */
    const char *prefix;
    /* The prefix in the two forms that paths are compared with, without a
     * trailing slash. resolved_prefix is NULL as long as it does not exist. */
    const char *lexical_prefix;
    const char *resolved_prefix;
} handoff_conf;

static void *create_directory_conf(apr_pool_t *p, char *directory)
{
    directory_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)directory;
    conf->enabled = UNSET;
    return conf;
}

static void *merge_directory_conf(apr_pool_t *p, void *basev, void *ownv)
{
    directory_conf *base = basev, *own = ownv;
    directory_conf *merged = apr_pcalloc(p, sizeof(*merged));

    merged->enabled = own->enabled != UNSET ? own->enabled : base->enabled;
    merged->forward = own->forward ? own->forward : base->forward;
    return merged;
}

static int is_enabled(request_rec *r)
{
    const directory_conf *conf = ap_get_module_config(r->per_dir_config, &socket_handoff_module);

    return conf->enabled != 0;
}

static void *create_server_conf(apr_pool_t *p, server_rec *s)
{
    handoff_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->connect_timeout_ms = UNSET;
    conf->send_timeout_ms = UNSET;
    conf->max_retries = UNSET;
    return conf;
}

#define INHERIT(field) merged->field = own->field != UNSET ? own->field : base->field

static void *merge_server_conf(apr_pool_t *p, void *basev, void *ownv)
{
    handoff_conf *base = basev, *own = ownv;
    handoff_conf *merged = apr_pcalloc(p, sizeof(*merged));

    INHERIT(connect_timeout_ms);
    INHERIT(send_timeout_ms);
    INHERIT(max_retries);
    merged->prefix = own->prefix ? own->prefix : base->prefix;
    return merged;
}

static handoff_conf *server_conf(cmd_parms *cmd)
{
    return ap_get_module_config(cmd->server->module_config, &socket_handoff_module);
}

static int is_word(const char *arg)
{
    return ap_cstr_casecmp(arg, FORWARD_ALL) == 0 || ap_cstr_casecmp(arg, FORWARD_NONE) == 0;
}

static const char *add_forward(cmd_parms *cmd, void *dir, const char *arg)
{
    directory_conf *conf = dir;
    const char *star = ap_strchr_c(arg, '*');

    if (*arg == '\0' || (star != NULL && star[1] != '\0'))
        return apr_psprintf(cmd->pool, "%s takes All, None, or names of headers; a * may be a name's end",
                            cmd->cmd->name);
    if (conf->forward == NULL)
        conf->forward = apr_array_make(cmd->pool, 8, sizeof(const char *));
    if (conf->forward->nelts > 0 && (is_word(arg) || is_word(APR_ARRAY_IDX(conf->forward, 0, const char *))))
        return apr_psprintf(cmd->pool, "%s: All and None stand alone", cmd->cmd->name);
    APR_ARRAY_PUSH(conf->forward, const char *) = arg;
    return NULL;
}

/* Raw arguments, for httpd takes "" for a missing argument everywhere else. */
static const char *set_prefix(cmd_parms *cmd, void *dir, const char *args)
{
    const char *value;

    (void)dir;
    if (*args == '\0')
        return apr_psprintf(cmd->pool, "%s takes one argument", cmd->cmd->name);
    value = ap_getword_conf(cmd->pool, &args);
    if (*args != '\0')
        return apr_psprintf(cmd->pool, "%s takes one argument", cmd->cmd->name);
    if (*value != '\0' && *value != '/')
        return apr_psprintf(cmd->pool, "%s must be an absolute path, or \"\" for any path", cmd->cmd->name);
    server_conf(cmd)->prefix = value;
    return NULL;
}

typedef struct {
    size_t offset;
    int min, max;
} int_directive;

static const int_directive connect_timeout = { offsetof(handoff_conf, connect_timeout_ms), 1, 60000 };
static const int_directive send_timeout = { offsetof(handoff_conf, send_timeout_ms), 1, 60000 };
static const int_directive max_retries = { offsetof(handoff_conf, max_retries), 0, 10 };

static const char *set_int(cmd_parms *cmd, void *dir, const char *arg)
{
    const int_directive *directive = cmd->info;
    char *end;
    long value;

    (void)dir;
    errno = 0;
    value = strtol(arg, &end, 10);
    if (end == arg || *end != '\0')
        return apr_psprintf(cmd->pool, "%s must be a valid integer", cmd->cmd->name);
    if (errno == ERANGE || value < directive->min || value > directive->max)
        return apr_psprintf(cmd->pool, "%s must be between %d and %d", cmd->cmd->name,
                            directive->min, directive->max);
    *(int *)((char *)server_conf(cmd) + directive->offset) = (int)value;
    return NULL;
}

static const command_rec directives[] = {
    AP_INIT_FLAG("SocketHandoffEnabled", ap_set_flag_slot, (void *)APR_OFFSETOF(directory_conf, enabled),
                 OR_FILEINFO,
                 "On (default) or Off: hand connections over when the application asks for it"),
    AP_INIT_ITERATE("SocketHandoffForwardHeaders", add_forward, NULL, OR_FILEINFO,
                    "All (default), None, or names of response headers that the client gets with the stream"),
    AP_INIT_RAW_ARGS("SocketHandoffAllowedPrefix", set_prefix, NULL, RSRC_CONF,
                     "Directory of the daemon sockets, \"\" for any; default " DEFAULT_ALLOWED_PREFIX),
    AP_INIT_TAKE1("SocketHandoffConnectTimeoutMs", set_int, (void *)&connect_timeout, RSRC_CONF,
                  "Longest wait of one attempt to connect, 1 to 60000 ms; default 100"),
    AP_INIT_TAKE1("SocketHandoffSendTimeoutMs", set_int, (void *)&send_timeout, RSRC_CONF,
                  "Longest wait for the daemon's socket to take the handoff, 1 to 60000 ms; default 200"),
    AP_INIT_TAKE1("SocketHandoffMaxRetries", set_int, (void *)&max_retries, RSRC_CONF,
                  "Further attempts while the socket is absent, refusing or full, 0 to 10; default 2"),
    { NULL }
};

/* ---- which paths are allowed ------------------------------------------- */

static int var_run_is_run;

/* NULL where the path does not exist. */
static char *resolved_path(apr_pool_t *p, const char *path)
{
    char buffer[PATH_MAX];

    if (realpath(*path ? path : "/", buffer) == NULL)
        return NULL;
    return apr_pstrdup(p, strcmp(buffer, "/") == 0 ? "" : buffer);
}

/*
 * Resolves ".", ".." and "//" without looking at the file system; no trailing slash ("" for "/"). Of the links,
 * only the system's own is followed: /var/run is /run under another name.
 */
static char *lexical_path(apr_pool_t *p, const char *path)
{
    char *canonical;
    size_t length;

    if (apr_filepath_merge(&canonical, "/", path, 0, p) != APR_SUCCESS)
        return NULL;
    length = strlen(canonical);
    while (length > 0 && canonical[length - 1] == '/')
        canonical[--length] = '\0';
    if (var_run_is_run && strncmp(canonical, "/var/run", 8) == 0 && (canonical[8] == '/' || canonical[8] == '\0'))
        canonical += 4;
    return canonical;
}

static int is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static int path_is_allowed(request_rec *r, const handoff_conf *conf, const char *path)
{
    const char *lexical, *resolved, *prefix;

    if (*path != '/')
        return 0;
    if (*conf->prefix == '\0')
        return 1;
    lexical = lexical_path(r->pool, path);
    if (lexical == NULL || !is_below(lexical, conf->lexical_prefix))
        return 0;

    /* A symlink below the prefix must not lead out of it. A path that does
     * not exist leads nowhere yet: connecting will say so. */
    resolved = resolved_path(r->pool, path);
    if (resolved == NULL)
        return 1;
    prefix = conf->resolved_prefix ? conf->resolved_prefix : resolved_path(r->pool, conf->lexical_prefix);
    return prefix != NULL && is_below(resolved, prefix);
}

/* After merging: fills in the defaults and resolves the prefix once for each server. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const char *run = resolved_path(ptemp, "/var/run");

    (void)plog;
    var_run_is_run = run != NULL && strcmp(run, "/run") == 0;
    for (; s != NULL; s = s->next) {
        handoff_conf *conf = ap_get_module_config(s->module_config, &socket_handoff_module);

        if (conf->connect_timeout_ms == UNSET)
            conf->connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
        if (conf->send_timeout_ms == UNSET)
            conf->send_timeout_ms = DEFAULT_SEND_TIMEOUT_MS;
        if (conf->max_retries == UNSET)
            conf->max_retries = DEFAULT_MAX_RETRIES;
        if (conf->prefix == NULL)
            conf->prefix = DEFAULT_ALLOWED_PREFIX;
        if (*conf->prefix == '\0')
            continue;
        conf->lexical_prefix = lexical_path(pconf, conf->prefix);
        if (conf->lexical_prefix == NULL) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                         "SocketHandoffAllowedPrefix %s is not a path", conf->prefix);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        conf->resolved_prefix = resolved_path(pconf, conf->lexical_prefix);
    }
    return OK;
}

/* ---- talking to the daemon --------------------------------------------- */

typedef struct {
    int fd;
    int type; /* SOCK_SEQPACKET, or SOCK_STREAM where the daemon listens with that */
} daemon_socket;

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

static int connect_daemon(request_rec *r, const handoff_conf *conf, const char *path, apr_time_t deadline,
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

/*
 * Sends the data and, with its first byte, the descriptor. *delivered says
 * whether the daemon owns the client now, which can be so even after an error.
 */
static int send_handoff(const daemon_socket *daemon, int client_fd, const char *data, size_t length,
                        apr_time_t deadline, int *delivered)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov;
    struct msghdr message;
    struct cmsghdr *rights;

    memset(&control, 0, sizeof(control));
    memset(&message, 0, sizeof(message));
    iov.iov_base = (char *)data;
    iov.iov_len = length;
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &client_fd, sizeof(int));

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

/* ---- letting go of the client ------------------------------------------ */

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

/*
 * A pipelined request may be here while a connection filter still holds back
 * some of the answer to the one before it. That must be on its way before the
 * daemon's first byte, and c->aborted would throw it away.
 */
static apr_status_t flush_earlier_responses(request_rec *r)
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

/* Returns OK with the client released, or the status that the client gets instead. */
static int hand_over(request_rec *r, const handoff_conf *conf, const char *path, const char *data)
{
    size_t length = strlen(data);
    apr_time_t deadline;
    daemon_socket daemon;
    apr_os_sock_t client_fd;
    apr_socket_t *client = ap_get_conn_socket(r->connection);
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

/* ---- the application's headers ------------------------------------------ */

static const char *take_header(request_rec *r, const char *name)
{
    const char *value = apr_table_get(r->headers_out, name);

    return value ? value : apr_table_get(r->err_headers_out, name);
}

static int is_part_header(const char *name)
{
    return ap_cstr_casecmpn(name, PART_HEADER, strlen(PART_HEADER)) == 0;
}

/* 1 and up; 0 if the rest of the name is no such number. A leading zero would be a second name for one part. */
static int part_number(const char *name)
{
    const char *digits = name + strlen(PART_HEADER);
    int number = 0;

    if (*digits == '0')
        return 0;
    for (; *digits != '\0'; digits++) {
        if (*digits < '0' || *digits > '9' || number > MAX_PARTS)
            return 0;
        number = number * 10 + (*digits - '0');
    }
    return number;
}

typedef struct {
    const char *whole;
    apr_array_header_t *parts; /* const char *, by number - 1; NULL in a gap */
    const char *problem;       /* NULL if the headers make one value */
    apr_pool_t *pool;
} handoff_data;

static int collect_data(void *datav, const char *name, const char *value)
{
    handoff_data *data = datav;
    int number;

    if (ap_cstr_casecmp(name, DATA_HEADER) == 0) {
        if (data->whole != NULL)
            data->problem = DATA_HEADER " is there twice";
        data->whole = value;
        return data->problem == NULL;
    }
    if (!is_part_header(name))
        return 1;
    number = part_number(name);
    if (number == 0 || number > MAX_PARTS) {
        data->problem = apr_psprintf(data->pool, "%s: parts have the numbers 1 to %d", name, MAX_PARTS);
        return 0;
    }
    while (data->parts->nelts < number)
        APR_ARRAY_PUSH(data->parts, const char *) = NULL;
    if (APR_ARRAY_IDX(data->parts, number - 1, const char *) != NULL) {
        data->problem = apr_psprintf(data->pool, "%s is there twice", name);
        return 0;
    }
    APR_ARRAY_IDX(data->parts, number - 1, const char *) = value;
    return 1;
}

/*
 * The handoff's data, "" if there is none. NULL, with a line in the log, if the
 * headers do not make one value: half a conversation must not look like a whole one.
 */
static const char *take_data(request_rec *r)
{
    handoff_data data = { .pool = r->pool, .parts = apr_array_make(r->pool, 32, sizeof(const char *)) };
    int i;

    if (apr_table_do(collect_data, &data, r->headers_out, NULL))
        apr_table_do(collect_data, &data, r->err_headers_out, NULL);
    if (data.problem == NULL && data.whole != NULL && data.parts->nelts > 0)
        data.problem = DATA_HEADER " is there both whole and in parts";
    for (i = 0; data.problem == NULL && i < data.parts->nelts; i++) {
        if (APR_ARRAY_IDX(data.parts, i, const char *) == NULL)
            data.problem = apr_psprintf(r->pool, PART_HEADER "%d is missing, " PART_HEADER "%d is there",
                                        i + 1, data.parts->nelts);
    }
    if (data.problem != NULL) {
        LOG(APLOG_ERR, 0, r, "%s", data.problem);
        return NULL;
    }
    if (data.parts->nelts > 0)
        return apr_array_pstrcat(r->pool, data.parts, 0);
    return data.whole ? data.whole : "";
}

static int add_part_header(void *names, const char *name, const char *value)
{
    (void)value;
    if (is_part_header(name))
        APR_ARRAY_PUSH((apr_array_header_t *)names, const char *) = name;
    return 1;
}

static void strip_table(request_rec *r, apr_table_t *table)
{
    /* Removing while iterating would skip entries. */
    apr_array_header_t *names = apr_array_make(r->pool, 2, sizeof(const char *));
    int i;

    apr_table_do(add_part_header, names, table, NULL);
    for (i = 0; i < names->nelts; i++)
        apr_table_unset(table, APR_ARRAY_IDX(names, i, const char *));
    apr_table_unset(table, SOCKET_HEADER);
    apr_table_unset(table, DATA_HEADER);
}

static void strip_headers(request_rec *r)
{
    strip_table(r, r->headers_out);
    strip_table(r, r->err_headers_out);
}

/* ---- the response's headers --------------------------------------------- */

/* About a body or a connection of httpd's; the daemon has its own. */
static const char *const never_forwarded[] = {
    "Accept-Ranges", "Cache-Control", "Connection", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Location", "Content-MD5", "Content-Range", "Content-Type", "Keep-Alive", "Location",
    "Proxy-Connection", "Retry-After", "Status", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Accel-Buffering",
    "X-Sendfile", NULL
};

/* What PHP and httpd write by themselves, and nobody asked for. */
static const char *const forwarded_if_named[] = {
    "Age", "Date", "ETag", "Expires", "Last-Modified", "Pragma", "Server", "X-Powered-By", NULL
};

static int is_in(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        if (ap_cstr_casecmp(*list, name) == 0)
            return 1;
    }
    return 0;
}

static int is_forwarded(const apr_array_header_t *patterns, const char *name)
{
    int i;

    if (is_in(never_forwarded, name) || is_part_header(name) || ap_cstr_casecmp(name, DATA_HEADER) == 0
        || ap_cstr_casecmp(name, SOCKET_HEADER) == 0)
        return 0;
    for (i = 0; patterns != NULL && i < patterns->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(patterns, i, const char *);
        size_t length = strlen(pattern);

        if (ap_cstr_casecmp(pattern, FORWARD_NONE) == 0)
            return 0;
        if (ap_cstr_casecmp(pattern, FORWARD_ALL) == 0)
            break;
        if (pattern[length - 1] == '*' ? ap_cstr_casecmpn(pattern, name, length - 1) == 0
                                       : ap_cstr_casecmp(pattern, name) == 0)
            return 1;
    }
    return (patterns == NULL || i < patterns->nelts) && !is_in(forwarded_if_named, name);
}

typedef struct {
    request_rec *r;
    const directory_conf *conf;
    apr_array_header_t *fields; /* header_field */
    const apr_table_t *hides;   /* its names are taken from it; NULL for none */
} header_collection;

static int collect_header(void *collectionv, const char *name, const char *value)
{
    header_collection *collection = collectionv;
    int is_cookie = ap_cstr_casecmp(name, "Set-Cookie") == 0;
    header_field *field;

    if (!is_forwarded(collection->conf->forward, name))
        return 1;
    if (!is_cookie && collection->hides != NULL && apr_table_get(collection->hides, name) != NULL)
        return 1;
    if (!is_utf8(value) || !is_utf8(name)) {
        LOG(APLOG_WARNING, 0, collection->r, "the header %s is not UTF-8, the client does not get it", name);
        return 1;
    }
    field = apr_array_push(collection->fields);
    field->name = name;
    field->value = value;
    return 1;
}

/*
 * What the application and httpd's configuration set for the client. mod_php's headers are in headers_out, those
 * of php-fpm in err_headers_out.
 */
static apr_array_header_t *forwarded_headers(request_rec *r)
{
    header_collection collection = {
        .r = r,
        .conf = ap_get_module_config(r->per_dir_config, &socket_handoff_module),
        .fields = apr_array_make(r->pool, 8, sizeof(header_field)),
    };

    apr_table_do(collect_header, &collection, r->headers_out, NULL);
    collection.hides = r->headers_out;
    apr_table_do(collect_header, &collection, r->err_headers_out, NULL);
    return collection.fields;
}

/* The data as the daemon gets it. */
static const char *add_forwarded_headers(request_rec *r, const char *data)
{
    const apr_array_header_t *headers = forwarded_headers(r);
    const char *merged;

    /* No data, or none that is JSON, is the daemon's to refuse. */
    if (headers->nelts == 0 || *data == '\0')
        return data;
    merged = json_add_headers(r->pool, data, headers);
    if (merged == NULL) {
        LOG(APLOG_WARNING, 0, r, "the client does not get the response's headers (%s and others): "
            DATA_HEADER " is no JSON object, or its response_headers is none",
            APR_ARRAY_IDX(headers, 0, header_field).name);
        return data;
    }
    return merged;
}

/* ---- errors ------------------------------------------------------------- */

/* A filter with this context stays in the chain after a handoff or a refusal, to swallow what is still said. */
static const char finished[] = "";

/* A part of a page cannot take the whole connection with it. */
static int handles(request_rec *r)
{
    return r->main == NULL && is_enabled(r);
}

/* What the filter leaves for the handler, which alone can end a request as httpd does. */
typedef struct {
    int status; /* 0 as long as nothing was refused */
    const char *request_id;
} refusal;

/*
 * Throws away what the application said. Within the handler, the error follows when it returns, for an ErrorDocument
 * may be PHP, and PHP runs one script at a time. The headers that a stream would have had stay: a cookie
 * may hold a new session, and without CORS headers a page cannot read the error.
 */
static apr_status_t refuse(ap_filter_t *f, apr_bucket_brigade *bb, const char *data, int status)
{
    request_rec *r = f->r;
    refusal *refused = ap_get_module_config(r->request_config, &socket_handoff_module);
    const apr_array_header_t *kept = forwarded_headers(r);
    int i;

    /* The names and values outlive the tables: both are in the request's pool. */
    apr_table_clear(r->headers_out);
    apr_table_clear(r->err_headers_out);
    for (i = 0; i < kept->nelts; i++) {
        const header_field *field = &APR_ARRAY_IDX(kept, i, header_field);

        apr_table_addn(r->err_headers_out, field->name, field->value);
    }
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    if (status == HTTP_SERVICE_UNAVAILABLE)
        apr_table_setn(r->err_headers_out, "Retry-After", "1");
    r->status_line = NULL;
    r->no_local_copy = 1;
    apr_brigade_cleanup(bb);
    if (refused != NULL) {
        refused->status = status;
        refused->request_id = data ? json_string_member(r->pool, data, "request_id") : NULL;
        f->ctx = (void *)finished;
        return APR_SUCCESS;
    }
    ap_remove_output_filter(f);
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(status, NULL, r->pool, f->c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return ap_pass_brigade(f->next, bb);
}

static int names_type(const char *range, const char *type)
{
    size_t length = strlen(type);
    const char *end = range + length, *quality;

    if (ap_cstr_casecmpn(range, type, length) != 0 || (*end != '\0' && *end != ';' && !apr_isspace(*end)))
        return 0;
    /* q=0 is a refusal (RFC 9110, section 12.4.2). */
    quality = ap_strcasestr(end, "q=0");
    return quality == NULL || strspn(quality + 2, "0.") != strcspn(quality + 2, "; \t");
}

/* A type counts if the client names it: a browser that opens the address takes anything, and reads pages. */
static int accepts(request_rec *r, const char *type)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    char *ranges, *range, *state;

    if (accept == NULL)
        return 0;
    ranges = apr_pstrdup(r->pool, accept);
    for (range = apr_strtok(ranges, ",", &state); range != NULL; range = apr_strtok(NULL, ",", &state)) {
        if (names_type(range + strspn(range, " \t"), type))
            return 1;
    }
    return 0;
}

/* In the daemon's shape. */
static int send_json_error(request_rec *r, const refusal *refused)
{
    const char *code = refused->status == HTTP_SERVICE_UNAVAILABLE ? "daemon_unavailable"
                     : refused->status == HTTP_FORBIDDEN ? "handoff_forbidden"
                                                         : "handoff_failed";
    const char *message = refused->status == HTTP_SERVICE_UNAVAILABLE ? "The streaming service is unavailable."
                                                                      : "The request could not be handed over.";
    const char *id = refused->request_id;
    const char *safe;

    if (id == NULL || *id == '\0')
        id = apr_table_get(r->subprocess_env, "UNIQUE_ID");
    for (safe = id; safe != NULL && *safe > ' ' && *safe < 0x7f && *safe != '"' && *safe != '\\'; safe++)
        ;
    if (safe == NULL || *safe != '\0')
        id = "";

    /* As httpd's own error pages: with a fresh chain of filters, which has Header always. */
    r->output_filters = r->proto_output_filters;
    ap_run_insert_error_filter(r);
    r->status = refused->status;
    r->clength = 0;
    r->content_encoding = NULL;
    r->content_languages = NULL;
    ap_set_content_type(r, "application/json");
    ap_rprintf(r, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"request_id\":\"%s\"}}\n", code, message, id);
    return OK;
}

static int has_error_document(request_rec *r, int status)
{
    return ap_response_code_string(r, ap_index_of_response(status)) != NULL;
}

/* httpd ends an empty response only after the handlers: the filter has not seen it yet. It must see it now, while
 * a refusal can still become an error. */
static void end_empty_response(request_rec *r)
{
    apr_bucket_brigade *bb;

    if (r->eos_sent || (apr_table_get(r->headers_out, SOCKET_HEADER) == NULL
                        && apr_table_get(r->err_headers_out, SOCKET_HEADER) == NULL))
        return;
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    (void)ap_pass_brigade(r->output_filters, bb);
}

/* Runs the real handler, and turns a refusal of the filter into httpd's own error. */
static int handoff_handler(request_rec *r)
{
    refusal *refused;
    int result;

    /* The second time this is the call below, which is for the next handler. */
    if (!handles(r) || ap_get_module_config(r->request_config, &socket_handoff_module) != NULL)
        return DECLINED;
    refused = apr_pcalloc(r->pool, sizeof(*refused));
    ap_set_module_config(r->request_config, &socket_handoff_module, refused);
    result = ap_run_handler(r);
    if (result == SUSPENDED)
        /* What comes later comes without a handler. */
        ap_set_module_config(r->request_config, &socket_handoff_module, NULL);
    if (result == OK && refused->status == 0)
        end_empty_response(r);
    if (refused->status == 0)
        /* Nobody handled it; the others must not be asked a second time. */
        return result == DECLINED ? HTTP_INTERNAL_SERVER_ERROR : result;

    /* What the application ended was thrown away: the response is still to come. */
    r->eos_sent = 0;
    if (!has_error_document(r, refused->status)
        && (accepts(r, "application/json") || accepts(r, "text/event-stream")))
        return send_json_error(r, refused);
    /* ap_die() looks for an ErrorDocument only if nothing has failed before. */
    r->status = HTTP_OK;
    return refused->status;
}

/* ---- filters ------------------------------------------------------------ */

/* A stream's head without a stream: the daemon is not told the method, and would send a body. */
static apr_status_t answer_head_request(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;

    ap_remove_output_filter(f);
    apr_brigade_cleanup(bb);
    strip_headers(r);
    apr_table_unset(r->headers_out, "Content-Length");
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache");
    ap_set_content_type(r, "text/event-stream");
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return ap_pass_brigade(f->next, bb);
}

/* Why this request's connection cannot be handed over; NULL if it can. */
static const char *connection_problem(request_rec *r)
{
    conn_rec *c = r->connection;

    if (r->proto_num >= HTTP_VERSION(2, 0) || c->master != NULL)
        return "one stream of an HTTP/2 connection cannot be handed over; use HTTP/1.1 for this location";
    if (ap_ssl_conn_is_ssl(c))
        return "this connection's TLS ends in httpd, the daemon would write plain text into it; "
               "terminate TLS in front of httpd";
    return NULL;
}

/* OK if the handoff may go on, or the status that the client gets instead. */
static int check_request(request_rec *r, const handoff_conf *conf, const char *path)
{
    const char *problem = connection_problem(r);

    if (problem != NULL) {
        LOG(APLOG_ERR, 0, r, "%s", problem);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!path_is_allowed(r, conf, path)) {
        LOG(APLOG_ERR, 0, r, "%s is not below SocketHandoffAllowedPrefix %s",
                      path, conf->prefix);
        return HTTP_FORBIDDEN;
    }
    return OK;
}

static apr_status_t handoff_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    const handoff_conf *conf = ap_get_module_config(r->server->module_config, &socket_handoff_module);
    const char *path, *data;
    int status;

    if (f->ctx == finished) {
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    path = take_header(r, SOCKET_HEADER);
    if (path == NULL) {
        ap_remove_output_filter(f);
        return ap_pass_brigade(f->next, bb);
    }

    /* A guard, an exception or a framework has said no. */
    if (r->status >= HTTP_MULTIPLE_CHOICES) {
        LOG(APLOG_INFO, 0, r, "no handoff to %s, the application's status is %d", path, r->status);
        ap_remove_output_filter(f);
        return ap_pass_brigade(f->next, bb);
    }

    LOG(APLOG_DEBUG, 0, r, "requested to %s", path);
    data = take_data(r);
    status = check_request(r, conf, path);
    if (status == OK && data == NULL)
        status = HTTP_INTERNAL_SERVER_ERROR;
    if (status != OK)
        return refuse(f, bb, data, status);
    if (r->header_only)
        return answer_head_request(f, bb);
    apr_brigade_cleanup(bb);
    if (flush_earlier_responses(r) != APR_SUCCESS)
        return APR_ECONNABORTED;
    status = hand_over(r, conf, path, add_forwarded_headers(r, data));
    if (status != OK)
        return refuse(f, bb, data, status);

    apr_table_setn(r->notes, HANDOFF_NOTE, apr_pstrdup(r->pool, path));
    strip_headers(r);
    f->ctx = (void *)finished;
    return APR_SUCCESS;
}

/* Last before the headers are written: whatever happened above, these two never leave the house. */
static apr_status_t strip_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    strip_headers(f->r);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

static void insert_strip_filter(request_rec *r)
{
    ap_add_output_filter_handle(strip_filter_handle, NULL, r, r->connection);
}

/* Tells the application, before it begins, that a handoff can work. */
static int set_environment(request_rec *r)
{
    if (handles(r) && connection_problem(r) == NULL)
        apr_table_setn(r->subprocess_env, AVAILABLE_VARIABLE, "1");
    return DECLINED;
}

static void insert_filters(request_rec *r)
{
    if (handles(r))
        ap_add_output_filter_handle(handoff_filter_handle, NULL, r, r->connection);
    insert_strip_filter(r);
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    handoff_filter_handle =
        ap_register_output_filter(HANDOFF_FILTER, handoff_filter, NULL, AP_FTYPE_CONTENT_SET);
    strip_filter_handle =
        ap_register_output_filter(STRIP_FILTER, strip_filter, NULL, AP_FTYPE_PROTOCOL - 1);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* Before every other handler: it runs them. */
    ap_hook_handler(handoff_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_fixups(set_environment, NULL, NULL, APR_HOOK_LAST);
    ap_hook_insert_filter(insert_filters, NULL, NULL, APR_HOOK_LAST);
    /* Error pages start with a fresh chain, which still has the application's error headers. */
    ap_hook_insert_error_filter(insert_strip_filter, NULL, NULL, APR_HOOK_LAST);
}

module AP_MODULE_DECLARE_DATA socket_handoff_module = {
    STANDARD20_MODULE_STUFF,
    create_directory_conf,
    merge_directory_conf,
    create_server_conf,
    merge_server_conf,
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
