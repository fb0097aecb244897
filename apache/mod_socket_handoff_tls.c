/*
 * mod_socket_handoff_tls: lets mod_socket_handoff hand over connections whose TLS ends in httpd.
 *
 * The kernel can encrypt what is sent (kernel TLS, Documentation/networking/tls.rst). It is given the sending key, and
 * the number of the next record. After that, the daemon writes plain text into the descriptor that it gets. Receiving
 * is not set up: the daemon throws away what a client still sends.
 *
 * OpenSSL can do this by itself, but only if it writes into a socket. In httpd it writes into filters. So this
 * module finds out what the kernel needs:
 *
 *   the key      TLS 1.3: from the traffic secret, which OpenSSL reports to a key log callback.
 *                TLS 1.2: from the session's master secret.
 *   the number   by counting records under that key. Session tickets count: a wrong number is a bad record.
 *
 * Needs mod_ssl, and a kernel with the module tls. The traffic secret is kept in the connection's memory, and
 * overwritten when it was used and when the connection ends.
 */
#include "mod_socket_handoff_tls.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "apr_optional.h"
#include "apr_optional_hooks.h"
#include "apr_strings.h"

#include "http_core.h"
#include "http_log.h"

#include "handoff_tls.h"

#define UNSET (-1)
#define MODPROBE "modprobe tls, and the word tls in a file of /etc/modules-load.d for the next boot"

APLOG_USE_MODULE(socket_handoff_tls);

typedef struct {
    int enabled;
} tls_conf;

static void *create_server_conf(apr_pool_t *p, server_rec *s)
{
    tls_conf *conf = apr_palloc(p, sizeof(*conf));

    (void)s;
    conf->enabled = UNSET;
    return conf;
}

static void *merge_server_conf(apr_pool_t *p, void *basev, void *ownv)
{
    const tls_conf *base = basev, *own = ownv;
    tls_conf *merged = apr_palloc(p, sizeof(*merged));

    merged->enabled = own->enabled != UNSET ? own->enabled : base->enabled;
    return merged;
}

static const char *set_enabled(cmd_parms *cmd, void *dir, int on)
{
    tls_conf *conf = ap_get_module_config(cmd->server->module_config, &socket_handoff_tls_module);

    (void)dir;
    conf->enabled = on;
    return NULL;
}

static const command_rec directives[] = {
    AP_INIT_FLAG("SocketHandoffTls", set_enabled, NULL, RSRC_CONF,
                 "On (default) or Off: hand TLS connections over; the kernel encrypts what the daemon sends"),
    { NULL }
};

static int is_enabled(server_rec *s)
{
    const tls_conf *conf = ap_get_module_config(s->module_config, &socket_handoff_tls_module);

    return conf->enabled != 0;
}

static int is_enabled_anywhere(server_rec *s)
{
    for (; s != NULL; s = s->next) {
        if (is_enabled(s))
            return 1;
    }
    return 0;
}

static const char *why_cipher(request_rec *r, SSL *ssl)
{
    return apr_psprintf(r->pool, "the kernel cannot send with the cipher of this connection, %s; it can with "
                        "AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305 of TLS 1.2 and 1.3: see SSLCipherSuite",
                        SSL_get_cipher_name(ssl));
}

static const char *socket_handoff_tls_problem(request_rec *r)
{
    const tls_connection *connection = tls_connection_of(r->connection);
    SSL *ssl;
    int version;

    if (!is_enabled(r->server))
        return "this connection's TLS ends in httpd, and SocketHandoffTls is Off";
    if (!kernel_has_tls())
        return "this connection's TLS ends in httpd, and the kernel has no TLS for sending: " MODPROBE;
    if (connection == NULL)
        return "this connection's TLS ends in httpd, but not in mod_ssl";
    ssl = connection->ssl;
    version = SSL_version(ssl);
    if (version != TLS1_2_VERSION && version != TLS1_3_VERSION)
        return apr_psprintf(r->pool, "the kernel cannot send over %s: it can over TLSv1.2 and TLSv1.3, see SSLProtocol",
                            SSL_get_version(ssl));
    if (!has_kernel_cipher(ssl))
        return why_cipher(r, ssl);
    if (SSL_in_init(ssl))
        return "a TLS handshake of this connection is not over";
    if (SSL_get_current_compression(ssl) != NULL)
        return "this connection's TLS compresses, which the kernel cannot: see SSLCompression";
    if (SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl)) != TLSEXT_max_fragment_length_DISABLED)
        return "the client asked for short TLS records, which the kernel would not keep to";
    if (version == TLS1_3_VERSION && connection->secret_length == 0)
        return "OpenSSL has not told the secret of this connection";
    return NULL;
}

static const char *socket_handoff_tls_begin(request_rec *r, int fd)
{
    tls_connection *connection = tls_connection_of(r->connection);
    const char *problem;
    kernel_setting setting;
    socklen_t length;
    int error = 0;

    if (connection != NULL && connection->kernel_sends)
        return NULL;
    problem = socket_handoff_tls_problem(r);
    if (problem != NULL)
        return problem;
    length = make_setting(connection, &setting);
    if (length == 0)
        problem = "OpenSSL cannot derive the key of this connection";
    else
        error = give_key_to_kernel(fd, &setting, length);
    OPENSSL_cleanse(&setting, sizeof(setting));
    if (error == ENOENT)
        return apr_psprintf(r->pool, "the kernel lacks TLS or the cipher %s: " MODPROBE ", and its crypto modules",
                            SSL_get_cipher_name(connection->ssl));
    if (error != 0)
        return apr_psprintf(r->pool, "the kernel does not take this connection's key (%s, %s): %s",
                            SSL_get_version(connection->ssl), SSL_get_cipher_name(connection->ssl), strerror(error));
    if (problem != NULL)
        return problem;
    connection->kernel_sends = 1;
    forget_secret(connection);
    end_own_encryption(r->connection, connection, fd);
    return NULL;
}

static void report_kernel(server_rec *s)
{
    if (kernel_has_tls())
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "socket handoff: the kernel can send TLS, connections of HTTPS can be handed over");
    else
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "socket handoff: the kernel has no TLS for sending, connections of "
                     "HTTPS are not handed over: " MODPROBE);
}

static void test_config(apr_pool_t *pconf, server_rec *s)
{
    (void)pconf;
    if (is_enabled_anywhere(s))
        report_kernel(s);
}

/* Before mod_ssl's, which calls init_server. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (!is_enabled_anywhere(s) || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    report_kernel(s);
    begin_to_listen();
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const before[] = { "mod_ssl.c", NULL };

    (void)p;
    register_plain_filter();
    ap_hook_post_config(post_config, NULL, before, APR_HOOK_REALLY_FIRST);
    ap_hook_test_config(test_config, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, init_server, init_server, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);
    APR_REGISTER_OPTIONAL_FN(socket_handoff_tls_problem);
    APR_REGISTER_OPTIONAL_FN(socket_handoff_tls_begin);
}

module AP_MODULE_DECLARE_DATA socket_handoff_tls_module = {
    STANDARD20_MODULE_STUFF,
    NULL,
    NULL,
    create_server_conf,
    merge_server_conf,
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
