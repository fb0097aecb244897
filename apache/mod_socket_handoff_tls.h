/*
 * What the files of mod_socket_handoff_tls know of each other.
 */
#ifndef MOD_SOCKET_HANDOFF_TLS_H
#define MOD_SOCKET_HANDOFF_TLS_H

#include <sys/socket.h>

#include <linux/tls.h>

#include "httpd.h"
#include "http_config.h"
#include "mod_ssl_openssl.h"
#include "util_filter.h"

extern module AP_MODULE_DECLARE_DATA socket_handoff_tls_module;

/* httpd loads all modules into one namespace. */
#pragma GCC visibility push(hidden)

/* ---- tls_secret.c ---- */

/* What is learned of a client's connection while OpenSSL talks. */
typedef struct {
    SSL *ssl;
    /* Records written under the present key, which is the number of the next one. */
    apr_uint64_t records;
    /* TLS 1.3: the traffic secret of the server. */
    unsigned char secret[EVP_MAX_MD_SIZE];
    size_t secret_length;
    int kernel_sends;
} tls_connection;

/* NULL if mod_ssl did not make it, or before anything is handed over. */
tls_connection *tls_connection_of(conn_rec *c);

apr_status_t forget_secret(void *connection);

/* At the start, if this server hands TLS over at all. */
void begin_to_listen(void);

/* Hooks of mod_ssl. */
int init_server(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx);
int pre_handshake(conn_rec *c, SSL *ssl, int is_proxy);

/* ---- tls_key.c ---- */

/* What kernels take: one of these, by cipher_type. */
typedef union {
    struct tls_crypto_info info;
    struct tls12_crypto_info_aes_gcm_128 gcm_128;
    struct tls12_crypto_info_aes_gcm_256 gcm_256;
    struct tls12_crypto_info_chacha20_poly1305 chacha20;
} kernel_setting;

int has_kernel_cipher(const SSL *ssl);

/* After a KeyUpdate (RFC 8446, section 7.2): the secret that follows, or none. */
void advance_secret(tls_connection *connection);

/* The setting's length, or 0 if no key could be derived. The caller overwrites it. */
socklen_t make_setting(const tls_connection *connection, kernel_setting *setting);

/* ---- tls_kernel.c ---- */

/* The kernel can send TLS. Looked for at the start; if it is not there, again, for it may be loaded later. */
int kernel_has_tls(void);

/* 0, or an errno; then nothing has changed. */
int give_key_to_kernel(int fd, const kernel_setting *setting, socklen_t length);

void register_plain_filter(void);

/* What httpd still writes goes to the kernel as it is, and ends with the kernel's close_notify. */
void end_own_encryption(conn_rec *c, tls_connection *connection, int fd);

#pragma GCC visibility pop

#endif
