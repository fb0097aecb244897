/*
 * Data in a file that the application names: for what is too long for headers.
 */
#ifndef _GNU_SOURCE /* O_PATH */
#define _GNU_SOURCE
#endif

#include "mod_socket_handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"

typedef struct {
    int directory_fd;
    const char *name; /* in the directory */
    int fd;
    apr_size_t length;
} data_file;

static int refuse_file(request_rec *r, int error, const char *path, const char *reason, int status)
{
    LOG(APLOG_ERR, error, r, FILE_HEADER " %s: %s", path, reason);
    return status;
}

/*
 * Opens the directory of the file, name by name: no link below the prefix is followed, so that none leads out of
 * it. Links above and of the prefix itself are the administrator's.
 */
static int open_directory(const handoff_conf *conf, char *rest, data_file *file)
{
    int fd = open(*conf->lexical_data_prefix ? conf->lexical_data_prefix : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *slash;

    while (fd >= 0 && (slash = strchr(rest, '/')) != NULL) {
        int next, error;

        *slash = '\0';
        next = openat(fd, rest, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        error = errno;
        close(fd);
        errno = error;
        fd = next;
        rest = slash + 1;
    }
    file->directory_fd = fd;
    file->name = rest;
    return fd >= 0 ? 0 : errno;
}

/* Neither waits for a FIFO's writer, nor takes a terminal. */
static int open_file(data_file *file)
{
    file->fd = openat(file->directory_fd, file->name,
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return file->fd >= 0 ? 0 : errno;
}

static int check_file(request_rec *r, const char *path, data_file *file)
{
    struct stat info;

    if (fstat(file->fd, &info) != 0)
        return refuse_file(r, errno, path, "cannot be examined", HTTP_INTERNAL_SERVER_ERROR);
    if (!S_ISREG(info.st_mode))
        return refuse_file(r, 0, path, "is no regular file", HTTP_FORBIDDEN);
    /* A second name may be of somebody else's file, which the application may not read. */
    if (info.st_nlink != 1)
        return refuse_file(r, 0, path, "has more than one name", HTTP_FORBIDDEN);
    /* Whatever becomes of it: nobody else will remove it. */
    if (unlinkat(file->directory_fd, file->name, 0) != 0)
        LOG(APLOG_WARNING, errno, r, "cannot remove %s: httpd's user needs to write in its directory", path);
    if (info.st_size > MOST_DATA_BYTES)
        return refuse_file(r, 0, path, "is longer than 64 MiB", HTTP_REQUEST_ENTITY_TOO_LARGE);
    file->length = (apr_size_t)info.st_size;
    return OK;
}

static void close_file(const data_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->directory_fd >= 0)
        close(file->directory_fd);
}

/* Opened, checked and removed. */
static int take_file(request_rec *r, const handoff_conf *conf, const char *path, data_file *file)
{
    char *lexical = lexical_path(r->pool, path);
    int error;

    file->directory_fd = file->fd = -1;
    if (conf->data_prefix == NULL)
        return refuse_file(r, 0, path, "SocketHandoffDataPrefix is not set", HTTP_INTERNAL_SERVER_ERROR);
    if (*path != '/' || lexical == NULL || !is_below(lexical, conf->lexical_data_prefix))
        return refuse_file(r, 0, path, apr_psprintf(r->pool, "is not below SocketHandoffDataPrefix %s",
                                                    conf->data_prefix), HTTP_FORBIDDEN);
    error = open_directory(conf, lexical + strlen(conf->lexical_data_prefix) + 1, file);
    if (error == 0)
        error = open_file(file);
    if (error == ELOOP || error == ENOTDIR)
        return refuse_file(r, error, path, "a name in it is a link, or no directory", HTTP_FORBIDDEN);
    if (error == ENXIO)
        /* A socket. */
        return refuse_file(r, error, path, "is no regular file", HTTP_FORBIDDEN);
    if (error == EACCES)
        return refuse_file(r, error, path, "cannot be opened by httpd's user: give its directory httpd's group and mode "
                           "2770, so that PHP's files have that group", HTTP_INTERNAL_SERVER_ERROR);
    if (error != 0)
        return refuse_file(r, error, path, "cannot be opened by httpd's user", HTTP_INTERNAL_SERVER_ERROR);
    return check_file(r, path, file);
}

/* Copied, because its writer could still change it. */
static int read_file(request_rec *r, const char *path, const data_file *file, handoff_data *data)
{
    char *text = apr_palloc(r->pool, file->length + 1);
    apr_size_t length = 0;

    while (length < file->length) {
        ssize_t count = read(file->fd, text + length, file->length - length);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return refuse_file(r, errno, path, "cannot be read", HTTP_INTERNAL_SERVER_ERROR);
        if (count == 0)
            return refuse_file(r, 0, path, "has become shorter", HTTP_INTERNAL_SERVER_ERROR);
        length += (apr_size_t)count;
    }
    text[length] = '\0';
    data->text = text;
    data->length = length;
    return OK;
}

int read_data_file(request_rec *r, const handoff_conf *conf, const char *path, handoff_data *data)
{
    data_file file;
    int status = take_file(r, conf, path, &file);

    if (status == OK)
        status = read_file(r, path, &file, data);
    close_file(&file);
    return status;
}

static int discard_file(void *rv, const char *name, const char *path)
{
    request_rec *r = rv;
    data_file file;

    (void)name;
    (void)take_file(r, ap_get_module_config(r->server->module_config, &socket_handoff_module), path, &file);
    close_file(&file);
    return 1;
}

void discard_data_files(request_rec *r)
{
    apr_table_do(discard_file, r, r->headers_out, FILE_HEADER, NULL);
    apr_table_do(discard_file, r, r->err_headers_out, FILE_HEADER, NULL);
}
