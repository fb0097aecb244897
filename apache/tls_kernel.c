/*
 * The kernel's part: it takes the key, and encrypts from then on.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "mod_socket_handoff_tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "apr_buckets.h"
#include "apr_strings.h"

#include "http_connection.h"

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* The output filters of mod_ssl: "SSL/TLS Filter" and "SSL/TLS Coalescing Filter". */
#define SSL_FILTER_PREFIX "ssl/tls "
#define PLAIN_FILTER "SOCKET_HANDOFF_PLAIN"

static ap_filter_rec_t *plain_filter_handle;

/*
 * A socket that is not connected cannot take it, but the answer says whether it is there. For the superuser, the
 * kernel loads the module, where that is allowed.
 */
static int look_for_tls(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int found;

    if (fd < 0)
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    found = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN;
    close(fd);
    return found;
}

int kernel_has_tls(void)
{
    static int found;

    if (!found)
        found = look_for_tls();
    return found;
}

int give_key_to_kernel(int fd, const kernel_setting *setting, socklen_t length)
{
    /* By itself the first call changes nothing. It is done already if an earlier request failed at the second. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0 && errno != EEXIST)
        return errno;
    return setsockopt(fd, SOL_TLS, TLS_TX, setting, length) == 0 ? 0 : errno;
}

/* As an alert that the kernel encrypts: "close_notify", without which a client takes the end for a cut connection. */
static void send_close_notify(int fd)
{
    unsigned char alert[2] = { SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
    struct iovec iov = { .iov_base = alert, .iov_len = sizeof(alert) };
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(1)];
    } control;
    struct msghdr message;
    struct cmsghdr *record_type;

    memset(&control, 0, sizeof(control));
    memset(&message, 0, sizeof(message));
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_LEN(1);
    record_type = CMSG_FIRSTHDR(&message);
    record_type->cmsg_level = SOL_TLS;
    record_type->cmsg_type = TLS_SET_RECORD_TYPE;
    record_type->cmsg_len = CMSG_LEN(1);
    *CMSG_DATA(record_type) = SSL3_RT_ALERT;
    (void)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* In the place of mod_ssl's filters, if httpd has to answer after all: its plain text goes to the kernel. */
static apr_status_t plain_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    const int *fd = f->ctx;
    int ends = 0;
    apr_bucket *bucket;
    apr_status_t status;

    for (bucket = APR_BRIGADE_FIRST(bb); bucket != APR_BRIGADE_SENTINEL(bb); bucket = APR_BUCKET_NEXT(bucket))
        ends |= AP_BUCKET_IS_EOC(bucket);
    status = ap_pass_brigade(f->next, bb);
    if (ends && fd != NULL && status == APR_SUCCESS && !f->c->aborted)
        send_close_notify(*fd);
    return status;
}

void register_plain_filter(void)
{
    plain_filter_handle = ap_register_output_filter(PLAIN_FILTER, plain_filter, NULL, AP_FTYPE_CONNECTION + 5);
}

/* Request filters point to those of the connection, so these are not taken out: they do something else. */
void end_own_encryption(conn_rec *c, tls_connection *connection, int fd)
{
    ap_filter_t *f, *last = NULL;

    for (f = c->output_filters; f != NULL; f = f->next) {
        if (strncmp(f->frec->name, SSL_FILTER_PREFIX, strlen(SSL_FILTER_PREFIX)) != 0)
            continue;
        f->frec = plain_filter_handle;
        f->ctx = NULL;
        last = f;
    }
    if (last != NULL)
        last->ctx = apr_pmemdup(c->pool, &fd, sizeof(fd));
    /* No close_notify of OpenSSL's, and nothing is read any more: the end of the dummy in the client's place would be a
     * fatal error, after which the session could not be resumed. */
    SSL_set_shutdown(connection->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_quiet_shutdown(connection->ssl, 1);
    c->keepalive = AP_CONN_CLOSE;
}
