/*
 * mod_socket_handoff: gives the client's TCP connection to another process.
 *
 * An application answers with
 *
 *     X-Socket-Handoff: /run/streaming-daemon/streaming-daemon.sock
 *     X-Handoff-Data:   {"prompt":"..."}
 *
 * (or X-Handoff-Data-1, X-Handoff-Data-2, ... if one line is too short for it,
 * or X-Handoff-Data-File)
 * and its work is done: the module connects to that Unix socket, sends the
 * data with the client's descriptor (SCM_RIGHTS), and httpd forgets the
 * connection. The daemon behind the socket writes the whole answer.
 *
 * Needs Linux (or another system with SOCK_SEQPACKET and dup3) and
 * httpd 2.4.48 or newer.
 */
#include "mod_socket_handoff.h"

#include "apr_buckets.h"
#include "apr_strings.h"

#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"

/* A note, for a log format: %{socket-handoff}n is the path a request was handed to. */
#define HANDOFF_NOTE "socket-handoff"

/* In the application's environment if it may ask for a handoff. */
#define AVAILABLE_VARIABLE "SOCKET_HANDOFF"
/* And the directory of files that it may name. */
#define DATA_VARIABLE "SOCKET_HANDOFF_DATA"

#define HANDOFF_FILTER "SOCKET_HANDOFF"
#define STRIP_FILTER "SOCKET_HANDOFF_STRIP"

static ap_filter_rec_t *handoff_filter_handle;
static ap_filter_rec_t *strip_filter_handle;

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

static int is_http2(request_rec *r)
{
    return r->proto_num >= HTTP_VERSION(2, 0) || r->connection->master != NULL;
}

/* Why this request's connection cannot be handed over; NULL if it can. */
static const char *connection_problem(request_rec *r)
{
    if (is_http2(r))
        return "one stream of an HTTP/2 connection cannot be handed over; set SocketHandoffRequireHttp11 On for "
               "this location";
    return encryption_problem(r);
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
    handoff_data data = { 0 }, sent;
    const char *path;
    int status, data_status;

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
    data_status = take_data(r, conf, &data);
    status = check_request(r, conf, path);
    if (status == OK)
        status = data_status;
    if (status != OK)
        return refuse(f, bb, &data, status);
    if (r->header_only)
        return answer_head_request(f, bb);
    apr_brigade_cleanup(bb);
    if (flush_earlier_responses(r) != APR_SUCCESS)
        return APR_ECONNABORTED;
    sent = data;
    add_forwarded_headers(r, &sent);
    status = hand_over(r, conf, path, &sent);
    if (status != OK)
        return refuse(f, bb, &data, status);

    apr_table_setn(r->notes, HANDOFF_NOTE, apr_pstrdup(r->pool, path));
    strip_headers(r);
    f->ctx = (void *)finished;
    return APR_SUCCESS;
}

/* What no handoff has taken. */
static void discard_handoff(request_rec *r)
{
    if (handles(r))
        discard_data_files(r);
    strip_headers(r);
}

/* Last before the headers are written: whatever happened above, ours never leave the house. */
static apr_status_t strip_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    discard_handoff(f->r);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

static void insert_strip_filter(request_rec *r)
{
    ap_add_output_filter_handle(strip_filter_handle, NULL, r, r->connection);
}

/* Has mod_http2 reset the stream with HTTP_1_1_REQUIRED (RFC 9113, section 7). Browsers and curl then ask again,
 * body included, over a connection of HTTP/1.1. A 403 with this note is how mod_ssl asks mod_http2 for that. */
static int require_http11(request_rec *r)
{
    LOG(APLOG_INFO, 0, r, "the client is told to ask again over HTTP/1.1");
    apr_table_setn(r->notes, "ssl-renegotiate-forbidden", "socket handoff");
    /* In place of an ErrorDocument, which would be another request, without the note. */
    ap_custom_response(r, HTTP_FORBIDDEN, "\"HTTP/1.1 is required.");
    return HTTP_FORBIDDEN;
}

/* Before the application begins: the last moment in which a client may be sent away, and the first in which the
 * application can be told that a handoff can work. */
static int prepare(request_rec *r)
{
    const handoff_conf *conf = ap_get_module_config(r->server->module_config, &socket_handoff_module);

    /* An error of the application's, or a redirect within httpd: its headers are still here, and are not those of the
     * response to come. */
    if (r->prev != NULL)
        discard_handoff(r);
    if (!handles(r))
        return DECLINED;
    if (requires_http11(r) && is_http2(r))
        return require_http11(r);
    if (connection_problem(r) != NULL)
        return DECLINED;
    apr_table_setn(r->subprocess_env, AVAILABLE_VARIABLE, "1");
    if (conf->data_prefix != NULL)
        apr_table_setn(r->subprocess_env, DATA_VARIABLE, conf->data_prefix);
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
    ap_hook_optional_fn_retrieve(find_tls_module, NULL, NULL, APR_HOOK_MIDDLE);
    /* Before every other handler: it runs them. */
    ap_hook_handler(handoff_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_fixups(prepare, NULL, NULL, APR_HOOK_LAST);
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
    handoff_directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
