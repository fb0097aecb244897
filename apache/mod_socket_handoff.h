/*
 * What the module's files know of each other.
 */
#ifndef MOD_SOCKET_HANDOFF_H
#define MOD_SOCKET_HANDOFF_H

#include "apr_tables.h"
#include "apr_time.h"

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "util_filter.h"

#define SOCKET_HEADER "X-Socket-Handoff"
#define DATA_HEADER "X-Handoff-Data"
/* Parts of the data, numbered from 1. FPM's lines end at 8191 bytes, name included. */
#define PART_HEADER DATA_HEADER "-"
/* A file that holds the data. */
#define FILE_HEADER DATA_HEADER "-File"

/* One Unix datagram with the kernel's default buffer; what is longer goes in a descriptor. */
#define LONGEST_MESSAGE 212960
/* The daemon's own ceiling. */
#define MOST_DATA_BYTES (64 * 1024 * 1024)

#define FORWARD_ALL "All"
#define FORWARD_NONE "None"
#define FIRST_BACKOFF_MS 10

extern module AP_MODULE_DECLARE_DATA socket_handoff_module;
APLOG_USE_MODULE(socket_handoff);

#define LOG(level, error, r, ...) ap_log_rerror(APLOG_MARK, level, error, r, "socket handoff: " __VA_ARGS__)

/* httpd loads all modules into one namespace: another's function must not take the place of one of these. */
#pragma GCC visibility push(hidden)

/* ---- handoff_config.c ---- */

/* Of a directory, so that a site's .htaccess can switch the module. */
typedef struct {
    int enabled;
    int require_http11;
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
    /* Of the files that an application may name; NULL for none. */
    const char *data_prefix;
    const char *lexical_data_prefix;
} handoff_conf;

/* What the application has to say to the daemon. A NUL follows it, and it may hold some. */
typedef struct {
    const char *text;
    apr_size_t length;
} handoff_data;

extern const command_rec handoff_directives[];

void *create_directory_conf(apr_pool_t *p, char *directory);
void *merge_directory_conf(apr_pool_t *p, void *basev, void *ownv);
void *create_server_conf(apr_pool_t *p, server_rec *s);
void *merge_server_conf(apr_pool_t *p, void *basev, void *ownv);

/* After merging: fills in the defaults and resolves the prefix once for each server. */
int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* A part of a page cannot take the whole connection with it. */
int handles(request_rec *r);

/* Clients that ask over HTTP/2 are to ask again over HTTP/1.1. Off if nothing is said. */
int requires_http11(request_rec *r);

/* ---- handoff_paths.c ---- */

/* Before any other of these. */
void look_at_var_run(apr_pool_t *p);

/* NULL where the path does not exist. */
char *resolved_path(apr_pool_t *p, const char *path);

/*
 * Resolves ".", ".." and "//" without looking at the file system; no trailing slash ("" for "/"). Of the links,
 * only the system's own is followed: /var/run is /run under another name.
 */
char *lexical_path(apr_pool_t *p, const char *path);

int is_below(const char *path, const char *directory);

int path_is_allowed(request_rec *r, const handoff_conf *conf, const char *path);

/* ---- handoff_file.c ---- */

/* Reads the file and removes it. Returns OK, or the status that the client gets instead. */
int read_data_file(request_rec *r, const handoff_conf *conf, const char *path, handoff_data *data);

/* Removes the files that the response names: their handoff does not take place. */
void discard_data_files(request_rec *r);

/* ---- handoff_daemon.c ---- */

typedef struct {
    int fd;
    int type; /* SOCK_SEQPACKET, or SOCK_STREAM where the daemon listens with that */
} daemon_socket;

int connect_daemon(request_rec *r, const handoff_conf *conf, const char *path, apr_time_t deadline,
                   daemon_socket *daemon);

/* Why the listener cannot be a daemon; NULL if it may be one. */
const char *listener_problem(request_rec *r, const daemon_socket *daemon);

/*
 * Sends the data and, with its first byte, the client's descriptor and that of memory (-1 for none). *delivered
 * says whether the daemon owns the client now, which can be so even after an error.
 */
int send_handoff(const daemon_socket *daemon, int client_fd, int memory_fd, const handoff_data *data,
                 apr_time_t deadline, int *delivered);

/* ---- handoff_memory.c ---- */

/* A sealed memfd that holds the data, or -1 with errno. *line is the message that goes with it. */
int seal_data(request_rec *r, const handoff_data *data, handoff_data *line);

/* Says in the log if the daemon does not know such handoffs. It has the client in any case. */
void await_acknowledgement(request_rec *r, const daemon_socket *daemon, const char *path, int timeout_ms);

/* ---- handoff_client.c ---- */

/*
 * A pipelined request may be here while a connection filter still holds back
 * some of the answer to the one before it. That must be on its way before the
 * daemon's first byte, and c->aborted would throw it away.
 */
apr_status_t flush_earlier_responses(request_rec *r);

/* Returns OK with the client released, or the status that the client gets instead. */
int hand_over(request_rec *r, const handoff_conf *conf, const char *path, const handoff_data *data);

/* ---- handoff_encryption.c ---- */

/* At the start. */
void find_tls_module(void);

/* Why the daemon could not write plain text into this connection; NULL if it could. Changes nothing. */
const char *encryption_problem(request_rec *r);

/* From now on the daemon can. NULL, or why not; then nothing has changed. */
const char *leave_encryption_to_kernel(request_rec *r, int client_fd);

/* ---- handoff_data.c ---- */

const char *take_header(request_rec *r, const char *name);
int is_part_header(const char *name);

/*
 * The handoff's data, empty if there is none. Returns OK, or the status that the client gets instead, with a
 * line in the log, if the headers do not make one value: half a conversation must not look like a whole one.
 */
int take_data(request_rec *r, const handoff_conf *conf, handoff_data *data);

void strip_headers(request_rec *r);

/* ---- handoff_response.c ---- */

/*
 * What the application and httpd's configuration set for the client (header_field). mod_php's headers are in
 * headers_out, those of php-fpm in err_headers_out.
 */
apr_array_header_t *forwarded_headers(request_rec *r);

/* Makes the data what the daemon gets. */
void add_forwarded_headers(request_rec *r, handoff_data *data);

/* ---- handoff_errors.c ---- */

/* A filter with this context stays in the chain after a handoff or a refusal, to swallow what is still said. */
extern const char finished[];

/*
 * Throws away what the application said. Within the handler, the error follows when it returns, for an ErrorDocument
 * may be PHP, and PHP runs one script at a time. The headers that a stream would have had stay: a cookie
 * may hold a new session, and without CORS headers a page cannot read the error.
 */
apr_status_t refuse(ap_filter_t *f, apr_bucket_brigade *bb, const handoff_data *data, int status);

/* Runs the real handler, and turns a refusal of the filter into httpd's own error. */
int handoff_handler(request_rec *r);

#pragma GCC visibility pop

#endif
