/*
 * The key of what is sent, as the kernel takes it.
 */
#include "mod_socket_handoff_tls.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/objects.h>

#include "apr_strings.h"

#define IV_LENGTH 12
#define SALT_LENGTH 4
#define MOST_KEY_LENGTH 32

typedef struct {
    int nid;
    unsigned short kernel_type;
    size_t key_length;
    /* Of the part of a TLS 1.2 nonce that is fixed. */
    size_t fixed_iv_length;
} tls_cipher;

static const tls_cipher ciphers[] = {
    { NID_aes_128_gcm, TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_128_KEY_SIZE, SALT_LENGTH },
    { NID_aes_256_gcm, TLS_CIPHER_AES_GCM_256, TLS_CIPHER_AES_GCM_256_KEY_SIZE, SALT_LENGTH },
    { NID_chacha20_poly1305, TLS_CIPHER_CHACHA20_POLY1305, TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE, IV_LENGTH },
};

static const tls_cipher *cipher_of(const SSL *ssl)
{
    const SSL_CIPHER *current = SSL_get_current_cipher(ssl);
    size_t i;

    for (i = 0; current != NULL && i < sizeof(ciphers) / sizeof(*ciphers); i++) {
        if (ciphers[i].nid == SSL_CIPHER_get_cipher_nid(current))
            return &ciphers[i];
    }
    return NULL;
}

int has_kernel_cipher(const SSL *ssl)
{
    return cipher_of(ssl) != NULL;
}

/* HKDF-Expand-Label of RFC 8446, section 7.1, without a context. */
static int expand_label(const tls_connection *connection, const char *label, unsigned char *out, size_t length)
{
    const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(connection->ssl));
    EVP_PKEY_CTX *context;
    unsigned char info[32];
    char name[24];
    int name_length = apr_snprintf(name, sizeof(name), "tls13 %s", label);
    int ok;

    info[0] = (unsigned char)(length >> 8);
    info[1] = (unsigned char)length;
    info[2] = (unsigned char)name_length;
    memcpy(info + 3, name, (size_t)name_length);
    info[3 + name_length] = 0;
    context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    ok = context != NULL && EVP_PKEY_derive_init(context) > 0
        && EVP_PKEY_CTX_set_hkdf_mode(context, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY) > 0
        && EVP_PKEY_CTX_set_hkdf_md(context, digest) > 0
        && EVP_PKEY_CTX_set1_hkdf_key(context, connection->secret, (int)connection->secret_length) > 0
        && EVP_PKEY_CTX_add1_hkdf_info(context, info, name_length + 4) > 0
        && EVP_PKEY_derive(context, out, &length) > 0;
    EVP_PKEY_CTX_free(context);
    return ok;
}

void advance_secret(tls_connection *connection)
{
    unsigned char next[EVP_MAX_MD_SIZE];

    if (connection->secret_length > 0
        && expand_label(connection, "traffic upd", next, connection->secret_length))
        memcpy(connection->secret, next, connection->secret_length);
    else
        forget_secret(connection);
    connection->records = 0;
    OPENSSL_cleanse(next, sizeof(next));
}

static int expand_master(SSL *ssl, unsigned char *out, size_t length)
{
    const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
    unsigned char master[SSL_MAX_MASTER_KEY_LENGTH], random[SSL3_RANDOM_SIZE];
    size_t master_length = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);
    int ok = context != NULL && master_length > 0 && EVP_PKEY_derive_init(context) > 0
        && EVP_PKEY_CTX_set_tls1_prf_md(context, digest) > 0
        && EVP_PKEY_CTX_set1_tls1_prf_secret(context, master, (int)master_length) > 0
        && EVP_PKEY_CTX_add1_tls1_prf_seed(context, (unsigned char *)"key expansion", 13) > 0
        && SSL_get_server_random(ssl, random, sizeof(random)) == sizeof(random)
        && EVP_PKEY_CTX_add1_tls1_prf_seed(context, random, sizeof(random)) > 0
        && SSL_get_client_random(ssl, random, sizeof(random)) == sizeof(random)
        && EVP_PKEY_CTX_add1_tls1_prf_seed(context, random, sizeof(random)) > 0
        && EVP_PKEY_derive(context, out, &length) > 0;

    OPENSSL_cleanse(master, sizeof(master));
    EVP_PKEY_CTX_free(context);
    return ok;
}

/* RFC 5246, section 6.3: the client's key, ours, the client's iv, ours. The ciphers here have no keys for MACs. */
static int derive_tls12(SSL *ssl, const tls_cipher *cipher, unsigned char *key, unsigned char *fixed_iv)
{
    unsigned char block[2 * MOST_KEY_LENGTH + 2 * IV_LENGTH];
    size_t used = 2 * (cipher->key_length + cipher->fixed_iv_length);
    int ok = expand_master(ssl, block, used);

    if (ok) {
        memcpy(key, block + cipher->key_length, cipher->key_length);
        memcpy(fixed_iv, block + used - cipher->fixed_iv_length, cipher->fixed_iv_length);
    }
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

static int derive(const tls_connection *connection, const tls_cipher *cipher, unsigned char *key, unsigned char *iv,
                  const unsigned char *number)
{
    if (SSL_version(connection->ssl) == TLS1_3_VERSION)
        return expand_label(connection, "key", key, cipher->key_length)
            && expand_label(connection, "iv", iv, IV_LENGTH);
    /* AES-GCM sends the rest of the nonce in each record, and the kernel counts it up. OpenSSL begins at a random
     * place; from the record's number on, nothing that it has used comes again. */
    memcpy(iv + SALT_LENGTH, number, IV_LENGTH - SALT_LENGTH);
    return derive_tls12(connection->ssl, cipher, key, iv);
}

#define FILL_GCM(setting)                                                                                              \
    do {                                                                                                               \
        memcpy((setting)->key, key, sizeof((setting)->key));                                                           \
        memcpy((setting)->salt, iv, sizeof((setting)->salt));                                                          \
        memcpy((setting)->iv, iv + sizeof((setting)->salt), sizeof((setting)->iv));                                    \
        memcpy((setting)->rec_seq, number, sizeof((setting)->rec_seq));                                                \
        length = sizeof(*(setting));                                                                                   \
    } while (0)

socklen_t make_setting(const tls_connection *connection, kernel_setting *setting)
{
    const tls_cipher *cipher = cipher_of(connection->ssl);
    unsigned char key[MOST_KEY_LENGTH], iv[IV_LENGTH], number[8];
    socklen_t length = 0;
    int i;

    for (i = 0; i < 8; i++)
        number[i] = (unsigned char)(connection->records >> (56 - 8 * i));
    memset(setting, 0, sizeof(*setting));
    setting->info.version = SSL_version(connection->ssl) == TLS1_3_VERSION ? TLS_1_3_VERSION : TLS_1_2_VERSION;
    setting->info.cipher_type = cipher->kernel_type;
    if (derive(connection, cipher, key, iv, number)) {
        if (cipher->kernel_type == TLS_CIPHER_AES_GCM_128) {
            FILL_GCM(&setting->gcm_128);
        } else if (cipher->kernel_type == TLS_CIPHER_AES_GCM_256) {
            FILL_GCM(&setting->gcm_256);
        } else {
            memcpy(setting->chacha20.key, key, sizeof(setting->chacha20.key));
            memcpy(setting->chacha20.iv, iv, sizeof(setting->chacha20.iv));
            memcpy(setting->chacha20.rec_seq, number, sizeof(setting->chacha20.rec_seq));
            length = sizeof(setting->chacha20);
        }
    }
    OPENSSL_cleanse(key, sizeof(key));
    OPENSSL_cleanse(iv, sizeof(iv));
    return length;
}
