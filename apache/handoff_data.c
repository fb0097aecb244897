/*
 * The application's headers: where to, and the data.
 */
#include "mod_socket_handoff.h"

#include <string.h>

#include "apr_strings.h"

/* Bounds what a wrong number can allocate; more bytes than a socket's message holds. */
#define MAX_PARTS 9999

const char *take_header(request_rec *r, const char *name)
{
    const char *value = apr_table_get(r->headers_out, name);

    return value ? value : apr_table_get(r->err_headers_out, name);
}

int is_part_header(const char *name)
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
    const char *file;
    apr_array_header_t *parts; /* const char *, by number - 1; NULL in a gap */
    const char *problem;       /* NULL if the headers make one value */
    apr_pool_t *pool;
} data_headers;

static int collect_data(void *datav, const char *name, const char *value)
{
    data_headers *data = datav;
    int number;

    if (ap_cstr_casecmp(name, DATA_HEADER) == 0) {
        if (data->whole != NULL)
            data->problem = DATA_HEADER " is there twice";
        data->whole = value;
        return data->problem == NULL;
    }
    if (ap_cstr_casecmp(name, FILE_HEADER) == 0) {
        if (data->file != NULL)
            data->problem = FILE_HEADER " is there twice";
        data->file = value;
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

/* NULL, or why the headers do not make one value. */
static const char *find_problem(const data_headers *headers)
{
    int i;

    if (headers->problem != NULL)
        return headers->problem;
    if (headers->whole != NULL && headers->parts->nelts > 0)
        return DATA_HEADER " is there both whole and in parts";
    if (headers->file != NULL && (headers->whole != NULL || headers->parts->nelts > 0))
        return DATA_HEADER " is there beside " FILE_HEADER;
    for (i = 0; i < headers->parts->nelts; i++) {
        if (APR_ARRAY_IDX(headers->parts, i, const char *) == NULL)
            return apr_psprintf(headers->pool, PART_HEADER "%d is missing, " PART_HEADER "%d is there", i + 1,
                                headers->parts->nelts);
    }
    return NULL;
}

int take_data(request_rec *r, const handoff_conf *conf, handoff_data *data)
{
    data_headers headers = { .pool = r->pool, .parts = apr_array_make(r->pool, 32, sizeof(const char *)) };
    const char *problem;

    if (apr_table_do(collect_data, &headers, r->headers_out, NULL))
        apr_table_do(collect_data, &headers, r->err_headers_out, NULL);
    problem = find_problem(&headers);
    if (problem != NULL) {
        LOG(APLOG_ERR, 0, r, "%s", problem);
        discard_data_files(r);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (headers.file != NULL)
        return read_data_file(r, conf, headers.file, data);
    data->text = headers.parts->nelts > 0 ? apr_array_pstrcat(r->pool, headers.parts, 0)
               : headers.whole != NULL ? headers.whole : "";
    data->length = strlen(data->text);
    if (data->length > MOST_DATA_BYTES) {
        LOG(APLOG_ERR, 0, r, DATA_HEADER " is longer than 64 MiB");
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    return OK;
}

static int is_ours(const char *name)
{
    return is_part_header(name) || ap_cstr_casecmp(name, SOCKET_HEADER) == 0
        || ap_cstr_casecmp(name, DATA_HEADER) == 0;
}

static int is_others(void *unused, const char *name, const char *value)
{
    (void)unused;
    (void)value;
    return !is_ours(name);
}

static int keep_others(void *kept, const char *name, const char *value)
{
    if (!is_ours(name))
        apr_table_addn(kept, name, value);
    return 1;
}

static int put_back(void *table, const char *name, const char *value)
{
    apr_table_addn(table, name, value);
    return 1;
}

/* Removing thousands of parts one by one would look at all headers for each. */
static void strip_table(request_rec *r, apr_table_t *table)
{
    apr_table_t *kept;

    if (apr_table_do(is_others, NULL, table, NULL))
        return;
    kept = apr_table_make(r->pool, 16);
    apr_table_do(keep_others, kept, table, NULL);
    apr_table_clear(table);
    apr_table_do(put_back, table, kept, NULL);
}

void strip_headers(request_rec *r)
{
    strip_table(r, r->headers_out);
    strip_table(r, r->err_headers_out);
}
