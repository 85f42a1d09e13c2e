/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.2 and later by OpenSSL. The key is a secret: whoever else can read its file is refused. */
#include <string.h>
#include <sys/stat.h>

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "http/internal.h"

/* Forward secrecy and AEAD only (Mozilla's "intermediate", without DHE). TLS 1.3 has its own. */
#define CIPHERS \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

static int tls_fail(const char *path, struct ush_message *message)
{
	char text[200];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ush_message_set(message, "TLS: %s: %s", path, text);
	return -USH_EINVAL;
}

static int check_mode(const char *path, struct ush_message *message)
{
	struct stat about;

	if (stat(path, &about) != 0) {
		ush_message_set(
			message, "TLS: %s: there is no such file, or it is out of reach", path);
		return -USH_EACCES;
	}
	if (!S_ISREG(about.st_mode) || (about.st_mode & 077) != 0) {
		ush_message_set(message,
			"TLS: %s: others can read the key; chmod 600 the file, and renew the key",
			path);
		return -USH_EACCES;
	}
	return 0;
}

int ush_http_tls_open(
	struct ssl_ctx_st **tls, const struct ush_http_config *config, struct ush_message *message)
{
	SSL_CTX *context;
	int ret;

	if (config->certificate == NULL || config->key == NULL) {
		ush_message_set(message, "TLS: a certificate wants a key, and a key a certificate");
		return -USH_EINVAL;
	}
	ret = check_mode(config->key, message);
	if (ret != 0)
		return ret;
	context = SSL_CTX_new(TLS_server_method());
	USH_ASSERT(context != NULL);
	ret = -USH_EINVAL;
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(context, CIPHERS) != 1)
		tls_fail("settings", message);
	else if (SSL_CTX_use_certificate_chain_file(context, config->certificate) != 1)
		tls_fail(config->certificate, message);
	else if (SSL_CTX_use_PrivateKey_file(context, config->key, SSL_FILETYPE_PEM) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		tls_fail(config->key, message);
	else
		ret = 0;
	if (ret != 0) {
		SSL_CTX_free(context);
		return ret;
	}
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Memory of idle connections. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	*tls = context;
	return 0;
}

struct bufferevent *ush_http_tls_accept(
	struct ssl_ctx_st *tls, struct event_base *base, evutil_socket_t fd)
{
	SSL *ssl = SSL_new(tls);

	USH_ASSERT(ssl != NULL);
	return bufferevent_openssl_socket_new(
		base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

void ush_http_tls_close(struct ssl_ctx_st *tls)
{
	SSL_CTX_free(tls);
}
