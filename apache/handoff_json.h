/*
 * The little that the module does with the handoff's JSON: it reads one string, and adds headers to
 * response_headers. Everything else stays byte for byte as the application wrote it.
 */
#ifndef HANDOFF_JSON_H
#define HANDOFF_JSON_H

#include "apr_pools.h"
#include "apr_tables.h"

#pragma GCC visibility push(hidden)

typedef struct {
    const char *name;
    const char *value;
} header_field;

/* The string of a member of the object, if it has no escapes; else NULL. */
const char *json_string_member(apr_pool_t *p, const char *data, const char *name);

/*
 * The data with these headers (header_field) in its response_headers. Headers that are there already win, but for
 * Set-Cookie, where both stay. NULL if the data is no object, or its response_headers is neither an object nor null
 * nor empty.
 */
const char *json_add_headers(apr_pool_t *p, const char *data, const apr_array_header_t *headers);

/* Whether this can be a JSON string. */
int is_utf8(const char *text);

#pragma GCC visibility pop

#endif
