/*
 * The response's headers, which the client gets with the stream.
 */
#include "mod_socket_handoff.h"

#include <string.h>

#include "handoff_json.h"

/* About a body or a connection of httpd's; the daemon has its own. */
static const char *const never_forwarded[] = {
    "Accept-Ranges", "Cache-Control", "Connection", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Location", "Content-MD5", "Content-Range", "Content-Type", "Keep-Alive", "Location",
    "Proxy-Connection", "Retry-After", "Status", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Accel-Buffering",
    "X-Answer-Id", "X-Sendfile", NULL
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

/* Each line of these says a thing of its own, and a module of httpd's (mod_deflate: Vary) adds one. */
static const char *const may_repeat[] = { "Link", "Set-Cookie", "Vary", NULL };

typedef struct {
    request_rec *r;
    const directory_conf *conf;
    apr_array_header_t *fields; /* header_field */
    const apr_table_t *hides;   /* its names are taken from it; NULL for none */
} header_collection;

static int collect_header(void *collectionv, const char *name, const char *value)
{
    header_collection *collection = collectionv;
    header_field *field;

    if (!is_forwarded(collection->conf->forward, name))
        return 1;
    if (collection->hides != NULL && apr_table_get(collection->hides, name) != NULL && !is_in(may_repeat, name))
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

apr_array_header_t *forwarded_headers(request_rec *r)
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

void add_forwarded_headers(request_rec *r, handoff_data *data)
{
    const apr_array_header_t *headers = forwarded_headers(r);
    const char *merged = NULL;

    /* No data, or none that is JSON, is the daemon's to refuse. */
    if (headers->nelts == 0 || data->length == 0)
        return;
    /* A NUL, which only a file can hold, is none. */
    if (memchr(data->text, '\0', data->length) == NULL)
        merged = json_add_headers(r->pool, data->text, headers);
    if (merged == NULL) {
        LOG(APLOG_WARNING, 0, r, "the client does not get the response's headers (%s and others): "
            DATA_HEADER " is no JSON object, or its response_headers is none",
            APR_ARRAY_IDX(headers, 0, header_field).name);
        return;
    }
    data->text = merged;
    data->length = strlen(merged);
}
