/*
 * What mod_socket_handoff_tls offers to mod_socket_handoff, as optional functions: without that module, or without
 * mod_ssl, a TLS connection is not handed over.
 */
#ifndef HANDOFF_TLS_H
#define HANDOFF_TLS_H

#include "apr_optional.h"
#include "httpd.h"

/* Why the kernel cannot do this connection's sending; NULL if it can. Changes nothing. */
APR_DECLARE_OPTIONAL_FN(const char *, socket_handoff_tls_problem, (request_rec *r));

/*
 * Gives the kernel the sending key of the client's socket. From then on, plain text that is written into the socket
 * leaves as TLS records. That holds for httpd too: its own encryption ends here. Returns NULL if the kernel sends.
 * Otherwise returns why it does not, and nothing has changed. Nothing of an earlier response may be pending. A
 * second call does nothing.
 */
APR_DECLARE_OPTIONAL_FN(const char *, socket_handoff_tls_begin, (request_rec *r, int fd));

#endif
