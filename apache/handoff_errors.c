/*
 * Refusals: they are httpd's own errors, or the daemon's JSON.
 */
#include "mod_socket_handoff.h"

#include <string.h>

#include "apr_buckets.h"
#include "apr_lib.h"
#include "apr_strings.h"

#include "handoff_json.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_core.h"

const char finished[] = "";

/* What the filter leaves for the handler, which alone can end a request as httpd does. */
typedef struct {
    int status; /* 0 as long as nothing was refused */
    const char *request_id;
} refusal;

apr_status_t refuse(ap_filter_t *f, apr_bucket_brigade *bb, const handoff_data *data, int status)
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
        refused->request_id = data->text ? json_string_member(r->pool, data->text, "request_id") : NULL;
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
                     : refused->status == HTTP_REQUEST_ENTITY_TOO_LARGE ? "handoff_too_large"
                                                         : "handoff_failed";
    const char *message = refused->status == HTTP_SERVICE_UNAVAILABLE ? "The streaming service is unavailable."
                        : refused->status == HTTP_REQUEST_ENTITY_TOO_LARGE ? "The handoff data is too large."
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

int handoff_handler(request_rec *r)
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
