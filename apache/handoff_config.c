/*
 * The directives, and what they are if nothing is said.
 */
#include "mod_socket_handoff.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "apr_lib.h"
#include "apr_strings.h"

#define UNSET (-1)
#define DEFAULT_ALLOWED_PREFIX "/run/"
#define DEFAULT_CONNECT_TIMEOUT_MS 100
#define DEFAULT_SEND_TIMEOUT_MS 200
#define DEFAULT_MAX_RETRIES 2

#define INHERIT(field) merged->field = own->field != UNSET ? own->field : base->field

void *create_directory_conf(apr_pool_t *p, char *directory)
{
    directory_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)directory;
    conf->enabled = UNSET;
    conf->require_http11 = UNSET;
    return conf;
}

void *merge_directory_conf(apr_pool_t *p, void *basev, void *ownv)
{
    directory_conf *base = basev, *own = ownv;
    directory_conf *merged = apr_pcalloc(p, sizeof(*merged));

    INHERIT(enabled);
    INHERIT(require_http11);
    merged->forward = own->forward ? own->forward : base->forward;
    return merged;
}

void *create_server_conf(apr_pool_t *p, server_rec *s)
{
    handoff_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->connect_timeout_ms = UNSET;
    conf->send_timeout_ms = UNSET;
    conf->max_retries = UNSET;
    return conf;
}

void *merge_server_conf(apr_pool_t *p, void *basev, void *ownv)
{
    handoff_conf *base = basev, *own = ownv;
    handoff_conf *merged = apr_pcalloc(p, sizeof(*merged));

    INHERIT(connect_timeout_ms);
    INHERIT(send_timeout_ms);
    INHERIT(max_retries);
    merged->prefix = own->prefix ? own->prefix : base->prefix;
    merged->data_prefix = own->data_prefix ? own->data_prefix : base->data_prefix;
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

static const char *set_data_prefix(cmd_parms *cmd, void *dir, const char *arg)
{
    (void)dir;
    if (*arg != '/')
        return apr_psprintf(cmd->pool, "%s must be an absolute path", cmd->cmd->name);
    server_conf(cmd)->data_prefix = arg;
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

const command_rec handoff_directives[] = {
    AP_INIT_FLAG("SocketHandoffEnabled", ap_set_flag_slot, (void *)APR_OFFSETOF(directory_conf, enabled),
                 OR_FILEINFO,
                 "On (default) or Off: hand connections over when the application asks for it"),
    AP_INIT_FLAG("SocketHandoffRequireHttp11", ap_set_flag_slot,
                 (void *)APR_OFFSETOF(directory_conf, require_http11), OR_FILEINFO,
                 "On or Off (default): tell clients that ask over HTTP/2 to ask again over HTTP/1.1"),
    AP_INIT_ITERATE("SocketHandoffForwardHeaders", add_forward, NULL, OR_FILEINFO,
                    "All (default), None, or names of response headers that the client gets with the stream"),
    AP_INIT_RAW_ARGS("SocketHandoffAllowedPrefix", set_prefix, NULL, RSRC_CONF,
                     "Directory of the daemon sockets, \"\" for any; default " DEFAULT_ALLOWED_PREFIX),
    AP_INIT_TAKE1("SocketHandoffDataPrefix", set_data_prefix, NULL, RSRC_CONF,
                  "Directory of the files that " FILE_HEADER " may name; none by default"),
    AP_INIT_TAKE1("SocketHandoffConnectTimeoutMs", set_int, (void *)&connect_timeout, RSRC_CONF,
                  "Longest wait of one attempt to connect, 1 to 60000 ms; default 100"),
    AP_INIT_TAKE1("SocketHandoffSendTimeoutMs", set_int, (void *)&send_timeout, RSRC_CONF,
                  "Longest wait for the daemon's socket to take the handoff, 1 to 60000 ms; default 200"),
    AP_INIT_TAKE1("SocketHandoffMaxRetries", set_int, (void *)&max_retries, RSRC_CONF,
                  "Further attempts while the socket is absent, refusing or full, 0 to 10; default 2"),
    { NULL }
};

static int refuse_path(server_rec *s, const char *directive, const char *path)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "%s %s is not a path", directive, path);
    return HTTP_INTERNAL_SERVER_ERROR;
}

int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    look_at_var_run(ptemp);
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
        if (conf->data_prefix != NULL) {
            conf->lexical_data_prefix = lexical_path(pconf, conf->data_prefix);
            if (conf->lexical_data_prefix == NULL)
                return refuse_path(s, "SocketHandoffDataPrefix", conf->data_prefix);
        }
        if (*conf->prefix == '\0')
            continue;
        conf->lexical_prefix = lexical_path(pconf, conf->prefix);
        if (conf->lexical_prefix == NULL)
            return refuse_path(s, "SocketHandoffAllowedPrefix", conf->prefix);
        conf->resolved_prefix = resolved_path(pconf, conf->lexical_prefix);
    }
    return OK;
}

static int is_enabled(request_rec *r)
{
    const directory_conf *conf = ap_get_module_config(r->per_dir_config, &socket_handoff_module);

    return conf->enabled != 0;
}

int handles(request_rec *r)
{
    return r->main == NULL && is_enabled(r);
}

int requires_http11(request_rec *r)
{
    const directory_conf *conf = ap_get_module_config(r->per_dir_config, &socket_handoff_module);

    return conf->require_http11 == 1;
}
