#include "handoff_json.h"

#include <string.h>

#include "apr_strings.h"
#include "httpd.h"

#define HEADERS_MEMBER "response_headers"

/* A part of the data, as written. */
typedef struct {
    const char *start;
    const char *end;
} span;

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Behind the closing quote; NULL if there is none. */
static const char *skip_string(const char *at)
{
    for (at++; *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '\0')
            return NULL;
    }
    return at + 1;
}

/* Behind a value. Brackets are counted, not checked: the daemon reads JSON, the module looks for its ends. */
static const char *skip_value(const char *at)
{
    int depth = 0;

    do {
        at = skip_space(at);
        if (*at == '"') {
            at = skip_string(at);
            if (at == NULL)
                return NULL;
        }
        else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        }
        else if (*at == '}' || *at == ']') {
            if (depth-- == 0)
                return NULL;
            at++;
        }
        else if (depth > 0 && (*at == ',' || *at == ':')) {
            at++;
        }
        else {
            size_t length = strcspn(at, "\"{}[],: \t\r\n");

            if (length == 0)
                return NULL;
            at += length;
        }
    } while (depth > 0);
    return at;
}

/*
 * The next member. *at is behind '{' or the member before; behind the last one, it is at '}'.
 * Returns 1 for a member, 0 at the end, -1 if this is no object.
 */
static int next_member(const char **at, int is_first, span *name, span *value)
{
    *at = skip_space(*at);
    if (**at == '}')
        return 0;
    if (!is_first) {
        if (**at != ',')
            return -1;
        *at = skip_space(*at + 1);
    }
    if (**at != '"')
        return -1;
    name->start = *at;
    name->end = skip_string(*at);
    if (name->end == NULL)
        return -1;
    *at = skip_space(name->end);
    if (**at != ':')
        return -1;
    value->start = skip_space(*at + 1);
    value->end = skip_value(value->start);
    if (value->end == NULL)
        return -1;
    *at = value->end;
    return 1;
}

/* Compares a name with its quotes. */
static int is_named(const span *name, const char *text)
{
    size_t length = strlen(text);

    return (size_t)(name->end - name->start) == length + 2 && strncmp(name->start + 1, text, length) == 0;
}

/*
 * Looks for a member; the last of a name counts, as for the daemon. Returns 0 if the data is no object.
 * *close is the object's '}', and *is_empty says whether there is any member before it.
 */
static int find_member(const char *data, const char *name, span *found, const char **close, int *is_empty)
{
    const char *at = skip_space(data);
    span key, value;
    int more;

    found->start = found->end = NULL;
    *is_empty = 1;
    if (*at++ != '{')
        return 0;
    while ((more = next_member(&at, *is_empty, &key, &value)) == 1) {
        *is_empty = 0;
        if (is_named(&key, name))
            *found = value;
    }
    *close = at;
    return more == 0 && *skip_space(at + 1) == '\0';
}

const char *json_string_member(apr_pool_t *p, const char *data, const char *name)
{
    const char *close;
    span value;
    size_t length;
    int is_empty;

    if (!find_member(data, name, &value, &close, &is_empty) || value.start == NULL || *value.start != '"')
        return NULL;
    length = (size_t)(value.end - value.start) - 2;
    if (memchr(value.start + 1, '\\', length) != NULL)
        return NULL;
    return apr_pstrmemdup(p, value.start + 1, length);
}

int is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        unsigned char first = *at++, low = 0x80, high = 0xbf;
        int rest;

        if (first < 0x80)
            continue;
        if (first < 0xc2 || first > 0xf4)
            return 0;
        rest = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        /* No overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629, section 4). */
        if (first == 0xe0)
            low = 0xa0;
        else if (first == 0xed)
            high = 0x9f;
        else if (first == 0xf0)
            low = 0x90;
        else if (first == 0xf4)
            high = 0x8f;
        for (; rest > 0; rest--, low = 0x80, high = 0xbf) {
            if (*at < low || *at > high)
                return 0;
            at++;
        }
    }
    return 1;
}

/* ---- writing ------------------------------------------------------------ */

static void put(apr_array_header_t *out, const char *text)
{
    APR_ARRAY_PUSH(out, const char *) = text;
}

static void put_span(apr_array_header_t *out, const char *start, const char *end)
{
    put(out, apr_pstrmemdup(out->pool, start, (size_t)(end - start)));
}

static void put_string(apr_array_header_t *out, const char *text)
{
    /* Six bytes for a control character, and the quotes. */
    char *quoted = apr_palloc(out->pool, strlen(text) * 6 + 3), *to = quoted;

    *to++ = '"';
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20) {
            to += apr_snprintf(to, 7, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            *to++ = '\\';
        *to++ = (char)c;
    }
    *to++ = '"';
    *to = '\0';
    put(out, quoted);
}

static int same_name(const header_field *field, const char *name)
{
    return ap_cstr_casecmp(field->name, name) == 0;
}

/* All values of a name, with commas between. */
static void put_values(apr_array_header_t *out, const apr_array_header_t *headers, const char *name)
{
    int i, is_first = 1;

    for (i = 0; i < headers->nelts; i++) {
        const header_field *field = &APR_ARRAY_IDX(headers, i, header_field);

        if (!same_name(field, name))
            continue;
        if (!is_first)
            put(out, ",");
        put_string(out, field->value);
        is_first = 0;
    }
}

static int has_name(const apr_array_header_t *headers, int before, const char *name)
{
    int i;

    for (i = 0; i < before; i++) {
        if (same_name(&APR_ARRAY_IDX(headers, i, header_field), name))
            return 1;
    }
    return 0;
}

/* A cookie replaces another only if the browser says so: both are sent. */
static void put_with_cookies(apr_array_header_t *out, const span *value, const apr_array_header_t *headers)
{
    const char *start = value->start, *end = value->end;

    if (*start == '[') {
        start = skip_space(start + 1);
        end--;
    }
    else if (*start != '"') {
        start = end;
    }
    put(out, "[");
    if (start < end) {
        put_span(out, start, end);
        put(out, ",");
    }
    put_values(out, headers, "Set-Cookie");
    put(out, "]");
}

/* The members that are there, with their order and spelling, and their names in *taken. Returns 0 if malformed. */
static int put_members(apr_array_header_t *out, const span *object, const apr_array_header_t *headers,
                       apr_array_header_t *taken)
{
    const char *at = object->start + 1;
    span name, value;
    int more;

    while ((more = next_member(&at, taken->nelts == 0, &name, &value)) == 1) {
        header_field *field;
        int is_cookie;

        if (taken->nelts > 0)
            put(out, ",");
        field = apr_array_push(taken);
        field->name = apr_pstrmemdup(out->pool, name.start + 1, (size_t)(name.end - name.start) - 2);
        field->value = NULL;
        is_cookie = same_name(field, "Set-Cookie") && !has_name(taken, taken->nelts - 1, "Set-Cookie")
            && has_name(headers, headers->nelts, "Set-Cookie");
        if (!is_cookie) {
            put_span(out, name.start, value.end);
            continue;
        }
        put_span(out, name.start, value.start);
        put_with_cookies(out, &value, headers);
    }
    return more == 0;
}

static int put_object(apr_array_header_t *out, const span *object, const apr_array_header_t *headers)
{
    apr_array_header_t *taken = apr_array_make(out->pool, 8, sizeof(header_field));
    int i, count;

    put(out, "{");
    if (object != NULL && !put_members(out, object, headers, taken))
        return 0;
    count = taken->nelts;
    for (i = 0; i < headers->nelts; i++) {
        const char *name = APR_ARRAY_IDX(headers, i, header_field).name;

        if (has_name(taken, taken->nelts, name) || has_name(headers, i, name))
            continue;
        if (count++ > 0)
            put(out, ",");
        put_string(out, name);
        put(out, ":[");
        put_values(out, headers, name);
        put(out, "]");
    }
    put(out, "}");
    return 1;
}

const char *json_add_headers(apr_pool_t *p, const char *data, const apr_array_header_t *headers)
{
    apr_array_header_t *out = apr_array_make(p, 64, sizeof(const char *));
    const char *close;
    span object;
    int is_empty, is_object;

    if (!find_member(data, HEADERS_MEMBER, &object, &close, &is_empty))
        return NULL;
    if (object.start == NULL) {
        put_span(out, data, close);
        put(out, is_empty ? "\"" HEADERS_MEMBER "\":" : ",\"" HEADERS_MEMBER "\":");
        put_object(out, NULL, headers);
        put(out, close);
        return apr_array_pstrcat(p, out, 0);
    }
    is_object = *object.start == '{';
    /* PHP writes an empty array where an empty object is meant. */
    if (!is_object && strncmp(object.start, "null", 4) != 0
        && !(*object.start == '[' && *skip_space(object.start + 1) == ']'))
        return NULL;
    put_span(out, data, object.start);
    if (!put_object(out, is_object ? &object : NULL, headers))
        return NULL;
    put(out, object.end);
    return apr_array_pstrcat(p, out, 0);
}
