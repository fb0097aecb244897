/*
 * Connections whose TLS ends in httpd: mod_socket_handoff_tls leaves their encryption to the kernel.
 */
#include "mod_socket_handoff.h"

#include "http_ssl.h"

#include "handoff_tls.h"

/* Of mod_socket_handoff_tls; NULL if it is not loaded. */
static APR_OPTIONAL_FN_TYPE(socket_handoff_tls_problem) *tls_problem;
static APR_OPTIONAL_FN_TYPE(socket_handoff_tls_begin) *tls_begin;

void find_tls_module(void)
{
    tls_problem = APR_RETRIEVE_OPTIONAL_FN(socket_handoff_tls_problem);
    tls_begin = APR_RETRIEVE_OPTIONAL_FN(socket_handoff_tls_begin);
}

const char *encryption_problem(request_rec *r)
{
    if (!ap_ssl_conn_is_ssl(r->connection))
        return NULL;
    return tls_problem != NULL ? tls_problem(r)
                               : "this connection's TLS ends in httpd, and mod_socket_handoff_tls is not loaded";
}

const char *leave_encryption_to_kernel(request_rec *r, int client_fd)
{
    if (!ap_ssl_conn_is_ssl(r->connection))
        return NULL;
    return tls_begin != NULL ? tls_begin(r, client_fd) : encryption_problem(r);
}
