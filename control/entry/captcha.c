/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failure modes: no answer, an error of the server, or one that blames our secret: AWAY, which is
 * nobody's fault but ours. Only a clear no is FAILED.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "entry/captcha.h"
#include "fetch/fetch.h"

#define ANSWER_BYTES_MAX 16384u

struct check {
	struct ush_captcha *captcha;
	ush_captcha_done *done;
	void *context;
};

static size_t put_escaped(char *to, const char *from)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t at = 0;

	for (; *from != '\0'; from++) {
		unsigned char c = (unsigned char)*from;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_' || c == '.' || c == '~') {
			to[at++] = (char)c;
			continue;
		}
		to[at++] = '%';
		to[at++] = digits[c >> 4];
		to[at++] = digits[c & 15];
	}
	return at;
}

static size_t put_field(char *to, const char *name, const char *value)
{
	size_t at = strlen(name);

	memcpy(to, name, at);
	return at + put_escaped(to + at, value);
}

char *ush_captcha_form(const char *secret, const char *token, const char *address)
{
	size_t most =
		3 * (strlen(secret) + strlen(token) + (address == NULL ? 0 : strlen(address))) + 64;
	char *form = malloc(most);
	size_t at;

	if (form == NULL)
		return NULL;
	at = put_field(form, "secret=", secret);
	at += put_field(form + at, "&response=", token);
	if (address != NULL)
		at += put_field(form + at, "&remoteip=", address);
	form[at] = '\0';
	return form;
}

/* ret: true if one of the error codes says that it is our fault. */
static bool our_fault(const json_t *codes)
{
	static const char *const ours[] = {"missing-input-secret", "invalid-input-secret",
		"bad-request", "internal-error", "sitekey-secret-mismatch"};

	for (size_t i = 0; i < json_array_size(codes); i++) {
		const char *code = json_string_value(json_array_get(codes, i));

		for (size_t j = 0; code != NULL && j < sizeof(ours) / sizeof(ours[0]); j++) {
			if (strcmp(code, ours[j]) == 0)
				return true;
		}
	}
	return false;
}

enum ush_captcha_says ush_captcha_read(
	uint32_t status, const char *body, size_t bytes, const char *hostname)
{
	json_t *answer =
		status == 200 ? json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *success = json_object_get(answer, "success");
	const char *name = json_string_value(json_object_get(answer, "hostname"));
	enum ush_captcha_says says = USH_CAPTCHA_AWAY;

	if (json_is_true(success)) {
		says = hostname != NULL && name != NULL && strcmp(hostname, name) != 0
			       ? USH_CAPTCHA_FAILED
			       : USH_CAPTCHA_GOOD;
	} else if (json_is_false(success) && !our_fault(json_object_get(answer, "error-codes"))) {
		says = USH_CAPTCHA_FAILED;
	}
	json_decref(answer);
	return says;
}

static void answered(void *context, const struct ush_fetch_result *result)
{
	struct check *check = context;
	struct ush_captcha *captcha = check->captcha;
	enum ush_captcha_says says = result->result == 0
					     ? ush_captcha_read(result->status, result->body,
						       result->bytes, captcha->hostname)
					     : USH_CAPTCHA_AWAY;
	ush_captcha_done *done = check->done;
	void *whose = check->context;

	captcha->under_way--;
	free(check);
	done(whose, says);
}

void ush_captcha_check(struct ush_captcha *captcha, const char *token, const char *address,
	ush_captcha_done *done, void *context)
{
	static const char *const headers[] = {
		"Content-Type: application/x-www-form-urlencoded", NULL};
	struct check *check = calloc(1, sizeof(*check));
	char *form = ush_captcha_form(captcha->secret, token, address);
	struct ush_fetch_request request = {.method = "POST",
		.url = captcha->url,
		.headers = headers,
		.body = form,
		.bytes = form == NULL ? 0 : strlen(form),
		.timeout_ms = captcha->timeout_ms,
		.answer_bytes_max = ANSWER_BYTES_MAX};

	if (check == NULL || form == NULL || captcha->under_way >= captcha->most) {
		free(check);
		free(form);
		done(context, USH_CAPTCHA_AWAY);
		return;
	}
	*check = (struct check){captcha, done, context};
	captcha->under_way++;
	ush_fetch_start(captcha->fetch, &request, answered, check);
	free(form);
}
