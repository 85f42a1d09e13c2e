/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, settings, rates, keys, and who may hold seats.
 *
 * Failure modes: a setting or a key that is no good stops the start with a message. A key that
 * cannot be read later leaves those of before.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>
#include <openssl/rand.h>

#include "entry/internal.h"
#include "entry/schedule.h"
#include "fetch/fetch.h"

#define SECOND_US INT64_C(1000000)
#define DAY_US (86400 * SECOND_US)
#define KEYS_EACH_US (60 * SECOND_US)
#define LIMIT_SETS 65536u
#define CROWD_ENTRIES 65536u

/* There is one in a process: handlers of others ask without knowing it. */
static struct ush_entry *the_entry;

/* ---- answers ---- */

void entry_time_text(int64_t us, char text[32])
{
	time_t second = (time_t)(us / SECOND_US);
	struct tm parts;

	gmtime_r(&second, &parts);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static void retry_after(struct ush_http_request *request, uint64_t wait_us)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, wait_us / 1000000 + 1);
	ush_http_set(request, "Retry-After", text);
}

void entry_not_ready(struct ush_http_request *request, const char *what)
{
	ush_http_set(request, "Retry-After", "1");
	ush_http_problem(request, 503, "not_ready", NULL, "%s is not there now: ask again", what);
}

bool entry_rate(struct ush_entry *entry, struct ush_http_request *request, uint64_t account)
{
	uint64_t now_us = (uint64_t)ush_core_now_us(), wait_us;
	const char *client = ush_http_client(request);

	wait_us = ush_limit_take(entry->limit, USH_LIMIT_ADDRESS,
		ush_limit_address(entry->limit, client == NULL ? "" : client),
		entry->address_a_minute == 0 ? 0 : 60000000 / entry->address_a_minute,
		(uint32_t)entry->address_burst, now_us);
	if (wait_us == 0 && account != 0)
		wait_us = ush_limit_take(entry->limit, USH_LIMIT_ACCOUNT, account,
			entry->account_a_minute == 0 ? 0 : 60000000 / entry->account_a_minute,
			(uint32_t)entry->account_burst, now_us);
	if (wait_us == 0)
		return true;
	entry->limited++;
	retry_after(request, wait_us);
	ush_http_problem(request, 429, "rate_limited", NULL,
		"too many requests of this address or account: wait, then ask again");
	return false;
}

void entry_refuse(struct ush_http_request *request, const struct ush_reply *reply)
{
	switch (reply->status) {
	case USH_STATUS_NO_ROOM:
		ush_http_problem(request, 404, "no_room", NULL,
			"the event has no waiting room: hold seats without one");
		break;
	case USH_STATUS_UNKNOWN_EVENT:
		ush_http_problem(request, 404, "unknown_event", NULL, "there is no such event");
		break;
	case USH_STATUS_SOLD_OUT:
		ush_http_problem(request, 409, "sold_out",
			json_pack("{s:I}", "wait_list", (json_int_t)reply->amount),
			"every seat is sold: the wait-list is left");
		break;
	case USH_STATUS_NOT_ON_SALE:
		ush_http_problem(request, 409, "event_over", NULL, "the event is over");
		break;
	case USH_STATUS_ROOM_FULL:
		ush_http_problem(request, 409, "room_full", NULL,
			"as many have joined as the room is for, or usherd has no place for so many (its limits.room_users)");
		break;
	case USH_STATUS_TICKET:
		ush_http_problem(request, 403, "bad_ticket",
			json_pack("{s:i}", "fault", (int)reply->detail),
			"the ticket is not good for this account and event: join again to get it anew");
		break;
	case USH_STATUS_ROOM_PHASE:
		ush_http_problem(request, 409, "wrong_phase",
			json_pack("{s:s}", "phase", ush_room_phase_name(reply->detail)),
			"the waiting room is not in the phase that this needs");
		break;
	case USH_STATUS_MISMATCH:
		ush_http_problem(request, 409, "seed_mismatch", NULL,
			"the seed is not the one whose hash was published");
		break;
	default:
		entry_not_ready(request, "the waiting room");
		break;
	}
}

/* ---- keys ---- */

void entry_keys_changed(struct ush_entry *entry)
{
	json_t *public = ush_jwt_keys_public(&entry->keys);
	char *text = json_dumps(public, JSON_COMPACT);

	json_decref(public);
	if (text == NULL)
		return;
	free(entry->jwks);
	entry->jwks = text;
}

static void get_jwks(struct ush_http_request *request, void *context)
{
	const struct ush_entry *entry = context;

	if (entry->keys.count == 0) {
		ush_http_problem(request, 503, "not_ready", NULL,
			"This replica has no copy of the keys of access tokens.");
		return;
	}
	/* Half of USH_JWT_AHEAD_US. */
	ush_http_set(request, "Cache-Control", "public, max-age=300");
	ush_http_answer(request, 200, "application/json", entry->jwks, strlen(entry->jwks));
}

/* Once a minute: keys that others made, that are too old, or that are due. */
static void keys_tick(struct ush_entry *entry, int64_t now_us)
{
	bool read_only = entry->core->read_only;
	struct ush_message message;
	int error;

	if (now_us - entry->keys_read_us < KEYS_EACH_US)
		return;
	entry->keys_read_us = now_us;
	error = ush_jwt_keys_read(
		&entry->keys, entry->folder, entry->alg, read_only, now_us, &message);
	if (error == 0 && !read_only) {
		ush_jwt_keys_drop(&entry->keys, entry->folder, now_us);
		if (now_us - entry->keys.key[entry->keys.count - 1].made_us >= entry->rotate_us)
			error = ush_jwt_keys_rotate(
				&entry->keys, entry->folder, entry->alg, now_us, &message);
	}
	if (error != 0 && !(read_only && entry->keys.count == 0))
		ush_core_log(USH_CORE_ERROR, "entry", "keys of access tokens", "error",
			message.text, NULL);
	entry_keys_changed(entry);
}

/* ---- who may hold seats ---- */

bool ush_entry_admitted(struct ush_http_request *request, uint32_t event)
{
	struct ush_entry *entry = the_entry;
	const struct ush_who *who = ush_who(request);
	const char *token = ush_http_header(request, "Usher-Access");
	int64_t now_us = ush_core_now_us();
	enum ush_jwt_verdict verdict = USH_JWT_MALFORMED;
	struct ush_jwt_claims claims;
	struct entry_room *room;

	if (entry == NULL || event > USH_EVENT_ID_MAX || who == NULL ||
		who->role == USH_ROLE_OPERATOR)
		return true;
	room = entry_room_of(entry, event);
	if (room != NULL && !room->had)
		return true;
	if (token != NULL) {
		verdict = ush_jwt_verify(&entry->keys, token, strlen(token), entry->core->origin,
			now_us / SECOND_US, &claims);
		if (verdict == USH_JWT_GOOD && claims.event != event)
			verdict = USH_JWT_EVENT;
		if (verdict == USH_JWT_GOOD && claims.user != who->user)
			verdict = USH_JWT_USER;
		if (verdict == USH_JWT_GOOD)
			return true;
	}
	if (room == NULL || room->status != USH_STATUS_OK) {
		entry_not_ready(request, "whether the event has a waiting room");
		return false;
	}
	ush_http_problem(request, 403, "access_wanted",
		json_pack("{s:s}", "reason",
			token == NULL ? "missing" : ush_jwt_verdict_name(verdict)),
		"the event has a waiting room: join its queue, exchange the ticket when it is called, and send the token in the header Usher-Access");
	return false;
}

/* Holds are asked for with a token; and who looks at an event will soon want to know. */
static bool filter(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const char *text = ush_http_param(request, "event");
	const char *path = ush_http_path(request);
	size_t length = strlen(path);
	char *end;
	unsigned long event;

	if (text == NULL || strncmp(path, "/v1/events/", 11) != 0)
		return true;
	event = strtoul(text, &end, 10);
	if (*end != '\0' || end == text || event == 0 || event > USH_EVENT_ID_MAX)
		return true;
	if (strcmp(ush_http_method(request), "POST") == 0 && length > 6 &&
		strcmp(path + length - 6, "/holds") == 0)
		return ush_entry_admitted(request, (uint32_t)event);
	entry_room_of(entry, (uint32_t)event);
	return true;
}

/* ---- opening ---- */

static const struct ush_http_route public_routes[] = {
	{"GET", "/.well-known/jwks.json", get_jwks, 0, 0},
	{NULL, NULL, NULL, 0, 0},
};
/* Joining and exchanging are idempotent by themselves (ADR 35). */
static const struct ush_http_route routes[] = {
	{"POST", "/v1/events/{event}/queue", entry_post_join, USH_HTTP_NO_KEY, 16384},
	{"GET", "/v1/events/{event}/queue", entry_get_status, 0, 0},
	{"GET", "/v1/events/{event}/queue/place", entry_get_place, 0, 0},
	{"GET", "/v1/events/{event}/queue/draw", entry_get_draw, 0, 0},
	{"GET", "/v1/events/{event}/queue/proof", entry_get_proof, 0, 0},
	{"POST", "/v1/events/{event}/queue/exchange", entry_post_exchange, USH_HTTP_NO_KEY, 1024},
	{"GET", "/v1/admin/events/{event}/queue", entry_get_admin, 0, 0},
	{"POST", "/v1/admin/events/{event}/queue", entry_post_admin, 0, 4096},
	{"POST", "/v1/admin/access-keys", entry_post_rotate, 0, 1024},
	{NULL, NULL, NULL, 0, 0},
};

static const char *setting(const struct ush_entry *entry, const char *key)
{
	return entry->core->setting(entry->core, "entry", key);
}

static int number(const struct ush_entry *entry, const char *key, uint64_t most, uint64_t none,
	uint64_t *value, struct ush_message *message)
{
	const char *text = setting(entry, key);
	char *end;

	*value = none;
	if (text == NULL)
		return 0;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value <= most)
		return 0;
	ush_message_set(message, "[entry] %s = %s: want a number up to %" PRIu64, key, text, most);
	return -USH_EINVAL;
}

static int read_captcha(struct ush_entry *entry, struct ush_message *message)
{
	const char *told = setting(entry, "captcha_address");
	uint64_t timeout_ms;
	size_t bytes;
	int error = number(entry, "captcha_timeout_ms", 60000, 3000, &timeout_ms, message);

	if (error != 0 || setting(entry, "captcha_url") == NULL)
		return error;
	entry->captcha_provider = setting(entry, "captcha_provider");
	entry->captcha_site_key = setting(entry, "captcha_site_key");
	if (entry->captcha_provider == NULL || entry->captcha_site_key == NULL) {
		ush_message_set(message,
			"[entry] captcha_url also wants captcha_provider, captcha_site_key and "
			"captcha_secret_file");
		return -USH_EINVAL;
	}
	entry->captcha_secret =
		entry->core->secret(entry->core, "entry", "captcha_secret_file", &bytes, message);
	if (entry->captcha_secret == NULL)
		return -USH_EACCES;
	entry->captcha_secret[strcspn(entry->captcha_secret, "\r\n")] = '\0';
	entry->captcha = (struct ush_captcha){.fetch = entry->core->fetch,
		.url = setting(entry, "captcha_url"),
		.secret = entry->captcha_secret,
		.hostname = setting(entry, "captcha_hostname"),
		.timeout_ms = (uint32_t)timeout_ms,
		.most = 1024};
	entry->captcha_address = told != NULL && strcmp(told, "yes") == 0;
	return 0;
}

static int read_beacon(struct ush_entry *entry, struct ush_message *message)
{
	const char *genesis = setting(entry, "beacon_genesis_s");
	uint64_t genesis_s, period_s;
	char url[1024];
	int error;

	if ((error = number(entry, "beacon_genesis_s", INT32_MAX, 0, &genesis_s, message)) != 0 ||
		(error = number(entry, "beacon_period_s", 86400, 0, &period_s, message)) != 0)
		return error;
	entry->beacon = (struct ush_beacon){.source = setting(entry, "beacon_source"),
		.url = setting(entry, "beacon_url"),
		.genesis_s = (int64_t)genesis_s,
		.period_s = (int64_t)period_s};
	if (entry->beacon.source == NULL || entry->beacon.source[0] == '\0') {
		entry->beacon.source = NULL;
		return 0;
	}
	if (entry->beacon.url != NULL && strncmp(entry->beacon.url, "https://", 8) != 0 &&
		!ush_fetch_is_here(entry->beacon.url)) {
		ush_message_set(message, "[entry] beacon_url wants https");
		return -USH_EINVAL;
	}
	if (entry->beacon.url != NULL && genesis != NULL && period_s != 0 &&
		ush_beacon_url(&entry->beacon, INT64_MAX, url, sizeof(url)))
		return 0;
	ush_message_set(message,
		"[entry] beacon_source also wants beacon_url with {round}, beacon_genesis_s and "
		"beacon_period_s");
	return -USH_EINVAL;
}

static int read_settings(struct ush_entry *entry, struct ush_message *message)
{
	const char *alg = setting(entry, "alg");
	uint64_t days, bits, devices, addresses;
	int error;

	if (alg != NULL && strcmp(alg, "EdDSA") != 0 && strcmp(alg, "ES256") != 0) {
		ush_message_set(message, "[entry] alg = %s: want EdDSA or ES256", alg);
		return -USH_EINVAL;
	}
	entry->alg = alg != NULL && strcmp(alg, "ES256") == 0 ? USH_JWT_ES256 : USH_JWT_EDDSA;
	if ((error = number(entry, "key_days", 3650, 30, &days, message)) != 0 ||
		(error = number(entry, "work_bits", USH_WORK_BITS_MAX, 0, &bits, message)) != 0 ||
		(error = number(entry, "device_accounts", USH_CROWD_ACCOUNTS_MAX - 1, 4, &devices,
			 message)) != 0 ||
		(error = number(entry, "address_accounts", USH_CROWD_ACCOUNTS_MAX - 1, 8,
			 &addresses, message)) != 0 ||
		(error = number(entry, "address_a_minute", 60000000, 600, &entry->address_a_minute,
			 message)) != 0 ||
		(error = number(entry, "address_burst", 1000000, 20, &entry->address_burst,
			 message)) != 0 ||
		(error = number(entry, "account_a_minute", 60000000, 60, &entry->account_a_minute,
			 message)) != 0 ||
		(error = number(
			 entry, "account_burst", 1000000, 10, &entry->account_burst, message)) != 0)
		return error;
	entry->rotate_us = days == 0 ? INT64_MAX : (int64_t)days * DAY_US;
	entry->work_bits = (uint32_t)bits;
	entry->bounds = (struct ush_crowd_bounds){(uint32_t)devices, (uint32_t)addresses};
	error = read_beacon(entry, message);
	return error != 0 ? error : read_captcha(entry, message);
}

static void tick(evutil_socket_t fd, short what, void *context)
{
	struct ush_entry *entry = context;

	(void)fd;
	(void)what;
	entry_rooms_tick(entry);
	/* A replica follows: whoever has usherd has the schedule. */
	if (entry->core->link != NULL && !entry->core->read_only)
		entry_schedule_tick(entry->schedule);
	keys_tick(entry, ush_core_now_us());
}

static void entry_free(struct ush_entry *entry)
{
	entry_rooms_close(entry);
	entry_schedule_free(entry->schedule);
	ush_jwt_keys_free(&entry->keys);
	ush_limit_free(entry->limit);
	ush_crowd_free(entry->crowd);
	free(entry->by_event);
	if (entry->captcha_secret != NULL)
		OPENSSL_cleanse(entry->captcha_secret, strlen(entry->captcha_secret));
	free(entry->captcha_secret);
	free(entry->folder);
	free(entry->jwks);
	free(entry);
}

bool entry_call_over(struct ush_entry *entry)
{
	entry->pending--;
	if (!entry->closed)
		return true;
	if (entry->pending == 0)
		entry_free(entry);
	return false;
}

static int prepare(struct ush_entry *entry, struct ush_message *message)
{
	struct ush_key keys[4];
	size_t bytes = strlen(entry->core->state_dir) + sizeof("/access-keys");
	int error = read_settings(entry, message);

	if (error != 0)
		return error;
	if (RAND_bytes((unsigned char *)keys, sizeof(keys)) != 1) {
		ush_message_set(message, "no random numbers");
		return -USH_ESYSTEM;
	}
	entry->work_key = keys[0];
	entry->slow_key = keys[1];
	entry->limit = ush_limit_new(LIMIT_SETS, &keys[2]);
	entry->crowd = ush_crowd_new(CROWD_ENTRIES, &keys[3]);
	entry->by_event = calloc(USH_EVENT_ID_MAX + 1u, sizeof(struct entry_room *));
	entry->folder = malloc(bytes);
	entry->timer = event_new(entry->core->base, -1, EV_PERSIST, tick, entry);
	entry->schedule = entry_schedule_new(entry);
	if (entry->limit == NULL || entry->crowd == NULL || entry->by_event == NULL ||
		entry->folder == NULL || entry->timer == NULL || entry->schedule == NULL) {
		ush_message_set(message, "no memory for the waiting rooms");
		return -USH_ENOMEM;
	}
	snprintf(entry->folder, bytes, "%s/access-keys", entry->core->state_dir);
	entry->keys_read_us = ush_core_now_us();
	error = ush_jwt_keys_read(&entry->keys, entry->folder, entry->alg, entry->core->read_only,
		entry->keys_read_us, message);
	/* A replica may do without, and looks again each minute. */
	if (error == -USH_ENOENT && entry->core->read_only) {
		ush_core_log(USH_CORE_WARN, "entry", "no keys of access tokens here", "why",
			message->text, NULL);
		return 0;
	}
	return error;
}

int ush_entry_open(struct ush_entry **out, const struct ush_core *core, struct ush_message *message)
{
	struct ush_entry *entry = calloc(1, sizeof(*entry));
	int error;

	if (entry == NULL) {
		ush_message_set(message, "no memory for the waiting rooms");
		return -USH_ENOMEM;
	}
	entry->core = core;
	error = prepare(entry, message);
	if (error != 0) {
		if (entry->timer != NULL)
			event_free(entry->timer);
		entry_free(entry);
		return error;
	}
	entry_keys_changed(entry);
	event_add(entry->timer, &(struct timeval){.tv_sec = 1});
	ush_http_routes_add(core->http, public_routes, entry);
	if (core->link != NULL) {
		ush_http_routes_add(core->http, routes, entry);
		ush_http_filter_add(core->http, filter, entry);
		entry_rooms_recall(entry);
		the_entry = entry;
	}
	*out = entry;
	return 0;
}

void ush_entry_close(struct ush_entry *entry)
{
	if (entry == NULL)
		return;
	the_entry = NULL;
	event_free(entry->timer);
	entry_rooms_drain(entry);
	entry->closed = true;
	if (entry->pending == 0)
		entry_free(entry);
}
