/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outgoing requests: libcurl's multi interface on the event loop. HTTP(S) and SMTP.
 *
 * Owns:  the curl handles, their timers and sockets.
 * Reads: the system's certificates.
 * Never: retries; logs bodies or credentials; follows redirects.
 */
#ifndef USH_FETCH_H
#define USH_FETCH_H

#include "base/base.h"

struct event_base;
struct ush_fetch;

struct ush_fetch_result {
	/* 0: there is an answer. -USH_ENOENT: surely not sent (no connection was made).
	 * -USH_EUNKNOWN: it may have been carried out (time out, connection lost). */
	int result;
	uint32_t status;  /* HTTP or SMTP */
	const char *type; /* Content-Type, may be NULL */
	const void *body; /* until the call returns; 0-terminated */
	size_t bytes;
	const char *error; /* for the log; NULL without one */
	const char *(*header)(const struct ush_fetch_result *result, const char *name);
};

/* Called exactly once, from the loop, never from within ush_fetch_start. */
typedef void ush_fetch_done(void *context, const struct ush_fetch_result *result);

struct ush_fetch_request {
	const char *method;         /* "GET", "POST", "DELETE"; "SMTP" */
	const char *url;            /* http, https; smtp, smtps */
	const char *const *headers; /* "Name: value", NULL at the end; may be NULL */
	const void *body;
	size_t bytes;
	const char *user; /* Basic, or SMTP's AUTH; may be NULL */
	const char *password;
	const char *mail_from; /* SMTP only; the recipients end with NULL */
	const char *const *mail_to;
	bool require_tls;        /* SMTP only: nothing is sent without STARTTLS or smtps */
	const char *ca;          /* certificates in PEM to trust; NULL: the system's */
	uint32_t timeout_ms;     /* of the whole */
	size_t answer_bytes_max; /* beyond: result -USH_EUNKNOWN */
	/* Refuse addresses that are not public (loopback, private, link-local), after name
	 * resolution: for URLs that customers give. */
	bool public_only;
};

int ush_fetch_open(struct ush_fetch **fetch, struct event_base *base, struct ush_message *message);
/* ret: whether a URL's host is this machine: 127.*, [::1], localhost. */
bool ush_fetch_is_here(const char *url);
/* Copies the request. */
void ush_fetch_start(struct ush_fetch *fetch, const struct ush_fetch_request *request,
	ush_fetch_done *done, void *context);
/* What is under way is called back with -USH_EUNKNOWN. */
void ush_fetch_close(struct ush_fetch *fetch);

#endif /* USH_FETCH_H */
