/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CAPTCHAs through a siteverify provider: hCaptcha, Turnstile and reCAPTCHA share that interface.
 *
 * Owns:  the checks that are under way.
 * Reads: the provider's answers.
 * Never: decides what a failed one means; logs a token; tells the provider an address unless it is
 * set so.
 */
#ifndef USH_ENTRY_CAPTCHA_H
#define USH_ENTRY_CAPTCHA_H

#include "entry/crowd.h"

struct ush_fetch;

struct ush_captcha {
	struct ush_fetch *fetch;
	/* NULL: no CAPTCHA is asked for. */
	const char *url;
	const char *secret;
	/* What the answer must say, if it says one; NULL: anything. */
	const char *hostname;
	uint32_t timeout_ms;
	uint32_t under_way;
	/* Checks at once; beyond, the provider counts as away. */
	uint32_t most;
};

/* Longest answer of a widget that is passed on. */
#define USH_CAPTCHA_TOKEN_MAX 4096u

typedef void ush_captcha_done(void *context, enum ush_captcha_says says);

/* Asks the provider. in: token: the widget's, up to USH_CAPTCHA_TOKEN_MAX bytes; address: NULL: is
 * not told. `done` is called once, never from within unless the provider is away. */
void ush_captcha_check(struct ush_captcha *captcha, const char *token, const char *address,
	ush_captcha_done *done, void *context);

/* What a provider's answer means. in: status: of HTTP. */
enum ush_captcha_says ush_captcha_read(
	uint32_t status, const char *body, size_t bytes, const char *hostname);

/* The form that is sent: secret, response, remoteip; malloced, or NULL. */
char *ush_captcha_form(const char *secret, const char *token, const char *address);

#endif /* USH_ENTRY_CAPTCHA_H */
