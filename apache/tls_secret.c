/*
 * What the kernel needs to know of a connection, learned while OpenSSL talks.
 */
#include "mod_socket_handoff_tls.h"

#include <string.h>

#include <openssl/crypto.h>

#define SECRET_LINE "SERVER_TRAFFIC_SECRET_0 "

/* Of an SSL: its tls_connection. Of an SSL_CTX: the key log callback that was there before ours. */
static int connection_index = -1;
static int keylog_index = -1;

void begin_to_listen(void)
{
    connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    keylog_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

tls_connection *tls_connection_of(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &socket_handoff_tls_module);
}

apr_status_t forget_secret(void *connectionv)
{
    tls_connection *connection = connectionv;

    OPENSSL_cleanse(connection->secret, sizeof(connection->secret));
    connection->secret_length = 0;
    return APR_SUCCESS;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Keeps the secret of "SERVER_TRAFFIC_SECRET_0 <client random> <secret>", the line at the change to its key. */
static void keep_secret(tls_connection *connection, const char *line)
{
    const char *digits = strrchr(line, ' ') + 1;
    size_t length = 0;

    forget_secret(connection);
    for (; length < sizeof(connection->secret) && hex_value(digits[0]) >= 0 && hex_value(digits[1]) >= 0; digits += 2)
        connection->secret[length++] = (unsigned char)(hex_value(digits[0]) << 4 | hex_value(digits[1]));
    connection->secret_length = length;
    connection->records = 0;
}

static void on_keylog(const SSL *ssl, const char *line)
{
    SSL_CTX_keylog_cb_func *before = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keylog_index);
    tls_connection *connection = SSL_get_ex_data(ssl, connection_index);

    if (connection != NULL && strncmp(line, SECRET_LINE, strlen(SECRET_LINE)) == 0)
        keep_secret(connection, line);
    /* mod_ssl's, for SSLKEYLOGFILE. */
    if (before != NULL)
        (*before)(ssl, line);
}

static void on_message(int written, int version, int type, const void *bytes, size_t length, SSL *ssl, void *connectionv)
{
    tls_connection *connection = connectionv;
    const unsigned char *first = bytes;

    (void)version;
    (void)ssl;
    if (!written || length == 0)
        return;
    if (type == SSL3_RT_HEADER) {
        connection->records++;
        /* TLS 1.2: the next record is the first under the new key, also in a renegotiation. TLS 1.3 sends one too, before
         * its secret is known. */
        if (first[0] == SSL3_RT_CHANGE_CIPHER_SPEC)
            connection->records = 0;
    } else if (type == SSL3_RT_HANDSHAKE && first[0] == SSL3_MT_KEY_UPDATE) {
        /* The client asked for a new key: this message is the last thing under the old one. */
        advance_secret(connection);
    }
}

/* For each server's context: SNI changes the context within a handshake. */
int init_server(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx)
{
    SSL_CTX_keylog_cb_func before = SSL_CTX_get_keylog_callback(ctx);

    (void)s;
    if (is_proxy || before == on_keylog || connection_index < 0)
        return OK;
    if (before != NULL) {
        /* In an object of its own: a pointer to data cannot hold one to a function. */
        SSL_CTX_keylog_cb_func *kept = apr_palloc(p, sizeof(*kept));

        *kept = before;
        SSL_CTX_set_ex_data(ctx, keylog_index, kept);
    }
    SSL_CTX_set_keylog_callback(ctx, on_keylog);
    return OK;
}

int pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    tls_connection *connection;

    if (is_proxy || connection_index < 0)
        return OK;
    connection = apr_pcalloc(c->pool, sizeof(*connection));
    if (!SSL_set_ex_data(ssl, connection_index, connection))
        return OK;
    connection->ssl = ssl;
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, connection);
    ap_set_module_config(c->conn_config, &socket_handoff_tls_module, connection);
    apr_pool_cleanup_register(c->pool, connection, forget_secret, apr_pool_cleanup_null);
    return OK;
}
