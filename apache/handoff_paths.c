/*
 * Which paths an application may name.
 */
#include "mod_socket_handoff.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "apr_file_info.h"
#include "apr_strings.h"

static int var_run_is_run;

char *resolved_path(apr_pool_t *p, const char *path)
{
    char buffer[PATH_MAX];

    if (realpath(*path ? path : "/", buffer) == NULL)
        return NULL;
    return apr_pstrdup(p, strcmp(buffer, "/") == 0 ? "" : buffer);
}

void look_at_var_run(apr_pool_t *p)
{
    const char *run = resolved_path(p, "/var/run");

    var_run_is_run = run != NULL && strcmp(run, "/run") == 0;
}

char *lexical_path(apr_pool_t *p, const char *path)
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

int is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

int path_is_allowed(request_rec *r, const handoff_conf *conf, const char *path)
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
