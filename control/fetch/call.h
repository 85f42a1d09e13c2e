/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of fetch/ share: a request under way, and the thread that hands over mail.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 */
#ifndef USH_FETCH_CALL_H
#define USH_FETCH_CALL_H

#include <curl/curl.h>

#include "fetch/fetch.h"

struct fetch_smtp;

struct call {
	struct ush_fetch_result result;
	struct ush_fetch *fetch;
	struct call *next, **back;
	CURL *curl;
	struct curl_slist *headers, *recipients;
	ush_fetch_done *done;
	void *context;
	char *sent; /* the body */
	size_t sent_bytes, sent_at;
	char *body;
	size_t body_bytes, body_size, body_max;
	CURLcode code; /* of a mail */
	bool mail, not_public, too_long;
	char error[CURL_ERROR_SIZE];
};

/* Calls back and frees. by: the loop. */
void fetch_call_end(struct call *call, CURLcode code);
void fetch_call_free(struct call *call);

int fetch_smtp_open(struct fetch_smtp **smtp, struct event_base *base, struct ush_message *message);
/* Takes the call, which ends later. */
void fetch_smtp_put(struct fetch_smtp *smtp, struct call *call);
/* Waits for the mail under way, which is told to end: a second at most. */
void fetch_smtp_close(struct fetch_smtp *smtp);

#endif /* USH_FETCH_CALL_H */
