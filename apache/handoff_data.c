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

const char *take_data(request_rec *r)
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

void strip_headers(request_rec *r)
{
    strip_table(r, r->headers_out);
    strip_table(r, r->err_headers_out);
}
