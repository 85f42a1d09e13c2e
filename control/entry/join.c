/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path of a join: rates, proof of work, CAPTCHA, what is suspicious, JOIN to usherd; the
 * ticket comes when its place is durable. Of an exchange: EXCHANGE to usherd, and what it answers
 * is put into a JWT and signed.
 *
 * Failure modes: usherd is busy, restarts, or does not answer: the same is sent again for three
 * seconds, since a user has one place and a ticket one token; then 503. Who is suspicious is not
 * refused: usherd is told one and the same device for all of them, and slows those of a device of
 * many users (docs/room.md, "Devices").
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "entry/internal.h"

#define SECOND_US INT64_C(1000000)
/* Of joins from one device or address. */
#define CROWD_WINDOW_US (3600 * UINT64_C(1000000))
#define KIND_DEVICE 1u
#define KIND_ADDRESS 2u
/* Tiers of a lobby: fans who are verified, all others, who is suspicious. Tier 6 is the box's own
 * for devices of many users. */
#define TIER_FAN 0u
#define TIER_ALL 2u
#define TIER_SLOW 5u
#define FLAG_REPEAT (1u << 16)
/* A token of usherd lasts 35 units of 2^33 ns (room/queue.h): it was made within one unit after
 * its end less that. */
#define TOKEN_LIFE_NS (UINT64_C(35) << 33)
#define ROLES (1u << USH_ROLE_BUYER)

struct message {
	struct ush_request head;
	struct ush_extension_header extension;
	uint64_t words[2];
};
static_assert(sizeof(struct message) == sizeof(struct ush_request) + 24, "no gaps");

/* One request that waits for usherd. */
struct ask {
	struct ush_entry *entry;
	struct ush_http_request *request;
	struct event *again;
	void (*done)(struct ask *ask, const struct ush_reply *reply);
	struct ush_crowd_client client;
	char *captcha; /* to be checked; NULL: none was given */
	uint64_t device;
	uint64_t user;
	char account[24];
	uint32_t tries;
	struct message message;
};

/* ---- asking usherd ---- */

static struct ask *ask_new(struct ush_entry *entry, struct ush_http_request *request,
	const struct ush_who *who, uint32_t event, uint8_t op)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (ask == NULL) {
		entry_not_ready(request, "memory");
		return NULL;
	}
	ask->entry = entry;
	ask->request = request;
	ask->user = who->user;
	memcpy(ask->account, who->account, sizeof(ask->account));
	ask->account[sizeof(ask->account) - 1] = '\0';
	ask->message.head = (struct ush_request){.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = op,
		.size = sizeof(struct ush_request),
		.event = event,
		.user = who->user};
	return ask;
}

static void ask_free(struct ask *ask)
{
	if (ask->again != NULL)
		event_free(ask->again);
	free(ask->captcha);
	free(ask);
}

static void ask_send(struct ask *ask);

static void ask_again(evutil_socket_t fd, short what, void *context)
{
	struct ask *ask = context;
	struct ush_entry *entry = ask->entry;

	(void)fd;
	(void)what;
	if (entry->closed) {
		entry_not_ready(ask->request, "usherd");
		ask_free(ask);
		entry_call_over(entry);
		return;
	}
	entry->pending--;
	ask_send(ask);
}

static void ask_later(struct ask *ask)
{
	if (ask->again == NULL)
		ask->again = evtimer_new(ask->entry->core->base, ask_again, ask);
	USH_ASSERT(ask->again != NULL);
	ask->entry->pending++;
	evtimer_add(ask->again, &(struct timeval){.tv_usec = ENTRY_AGAIN_MS * 1000});
}

static void ask_answered(
	void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct ask *ask = context;
	bool busy = result != 0 || reply->status == USH_STATUS_RETRY ||
		    reply->status == USH_STATUS_BUSY;

	(void)reply_bytes;
	if (!entry_call_over(ask->entry)) {
		entry_not_ready(ask->request, "usherd");
		ask_free(ask);
		return;
	}
	/* Who had no answer within the time has waited long enough. */
	if (busy && result != -USH_EBUSY && ++ask->tries < ENTRY_TRIES) {
		ask_later(ask);
		return;
	}
	if (busy)
		entry_not_ready(ask->request, "an answer of the box that sells this event");
	else
		ask->done(ask, reply);
	ask_free(ask);
}

static void ask_send(struct ask *ask)
{
	ask->entry->pending++;
	ush_link_call(
		ask->entry->core->link, &ask->message.head, -1, ENTRY_CALL_MS, ask_answered, ask);
}

static void extend(struct ask *ask, uint8_t type, uint32_t value, const void *body, uint16_t bytes)
{
	ask->message.extension = (struct ush_extension_header){.type = type,
		.size = (uint16_t)(sizeof(struct ush_extension_header) + bytes),
		.value = value};
	memcpy(ask->message.words, body, bytes);
	ask->message.head.extension_count = 1;
	ask->message.head.size =
		(uint16_t)(sizeof(struct ush_request) + ask->message.extension.size);
}

/* ---- joining ---- */

static void joined(struct ask *ask, const struct ush_reply *reply)
{
	struct ush_ticket ticket = {.number = reply->amount,
		.tier = (uint8_t)reply->detail,
		.key_id = (uint8_t)(reply->detail >> 8)};
	bool repeat = (reply->detail & FLAG_REPEAT) != 0;
	char text[USH_ENTRY_TICKET_CHARS + 1];

	if (reply->status != USH_STATUS_OK) {
		entry_refuse(ask->request, reply);
		return;
	}
	ush_entry_ticket_text(&ticket, reply->hold, text);
	ush_http_answer_json(ask->request, repeat ? 200 : 201,
		json_pack("{s:s, s:I, s:I, s:b}", "ticket", text, "tier", (json_int_t)ticket.tier,
			"index", (json_int_t)ticket.number, "repeat", repeat));
}

static void join_scored(struct ask *ask)
{
	struct ush_entry *entry = ask->entry;
	bool slow = ush_crowd_score(&ask->client, &entry->bounds) >= USH_CROWD_SLOW;

	ask->message.head.arg = ask->client.verified_fan ? TIER_FAN : TIER_ALL;
	if (slow) {
		ask->message.head.arg = TIER_SLOW;
		ask->device = ush_siphash_2(&entry->slow_key, ask->message.head.event, 1) | 1;
		entry->slowed++;
	}
	if (ask->device != 0)
		extend(ask, USH_EXTENSION_DEVICE, 0, &ask->device, sizeof(ask->device));
	ask->done = joined;
	ask_send(ask);
}

static void captcha_done(void *context, enum ush_captcha_says says)
{
	struct ask *ask = context;

	if (!entry_call_over(ask->entry)) {
		entry_not_ready(ask->request, "the provider of CAPTCHAs");
		ask_free(ask);
		return;
	}
	ask->client.captcha = says;
	join_scored(ask);
}

/* ret: false: text that is no fingerprint of 16 hexadecimal digits. */
static bool read_device(const json_t *value, uint64_t *device)
{
	const char *text = json_string_value(value);

	*device = 0;
	if (value == NULL || json_is_null(value))
		return true;
	if (text == NULL || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*device = strtoull(text, NULL, 16);
	return true;
}

static uint64_t word_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	char *end;
	uint64_t word;

	if (json_is_integer(value))
		return (uint64_t)json_integer_value(value);
	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	word = strtoull(text, &end, 10);
	return *end == '\0' ? word : 0;
}

/* ret: false: a proof of work is demanded, and 403 was answered. */
static bool check_work(struct ush_entry *entry, struct ush_http_request *request,
	const struct ush_who *who, uint32_t event, const json_t *given)
{
	uint64_t now_us = (uint64_t)ush_core_now_us();
	struct ush_work work = {.user = who->user,
		.event = event,
		.request_id = (uint32_t)word_of(given, "request_id"),
		.time_ns = word_of(given, "time_ns"),
		.nonce = word_of(given, "nonce")};
	char user[24], time_ns[24];

	if (entry->work_bits == 0 || (given != NULL && ush_work_check(&work, entry->work_bits,
							       &entry->work_key, now_us)))
		return true;
	snprintf(user, sizeof(user), "%" PRIu64, who->user);
	snprintf(time_ns, sizeof(time_ns), "%" PRIu64, now_us * 1000);
	ush_http_problem(request, 403, "work_wanted",
		json_pack("{s:{s:I, s:I, s:s, s:I, s:I, s:s}}", "work", "bits",
			(json_int_t)entry->work_bits, "salt",
			(json_int_t)ush_work_salt(&entry->work_key, now_us), "user", user, "event",
			(json_int_t)event, "request_id", (json_int_t)1, "time_ns", time_ns),
		"solve this proof of work and send its request_id, time_ns and nonce as `work` within a minute");
	return false;
}

/* ret: false: 403 was answered: the page is to show the provider's widget. */
static bool check_captcha(
	struct ush_entry *entry, struct ush_http_request *request, const json_t *given)
{
	if (entry->captcha.url == NULL || json_is_null(given) || json_is_string(given))
		return true;
	ush_http_problem(request, 403, "captcha_wanted",
		json_pack("{s:{s:s, s:s}}", "captcha", "provider", entry->captcha_provider,
			"site_key", entry->captcha_site_key),
		"send what the widget says as `captcha`; null, if there is none, joins the slow queue");
	return false;
}

static void see(struct ask *ask, const struct ush_who *who)
{
	struct ush_entry *entry = ask->entry;
	const char *client = ush_http_client(ask->request);
	uint64_t now_us = (uint64_t)ush_core_now_us();

	if (ask->device != 0)
		ask->client.device_accounts = ush_crowd_see(
			entry->crowd, KIND_DEVICE, ask->device, who->user, CROWD_WINDOW_US, now_us);
	ask->client.address_accounts = ush_crowd_see(entry->crowd, KIND_ADDRESS,
		ush_limit_address(entry->limit, client == NULL ? "" : client), who->user,
		CROWD_WINDOW_US, now_us);
}

static void join_known(struct ask *ask)
{
	struct ush_entry *entry = ask->entry;

	if (entry->captcha.url == NULL) {
		join_scored(ask);
	} else if (ask->captcha == NULL) {
		ask->client.captcha = USH_CAPTCHA_NONE;
		join_scored(ask);
	} else {
		entry->pending++;
		ush_captcha_check(&entry->captcha, ask->captcha,
			entry->captcha_address ? ush_http_client(ask->request) : NULL, captcha_done,
			ask);
	}
}

static int fan_job(struct ush_db_conn *conn, void *context)
{
	struct ask *ask = context;
	int ret = ush_people_is_fan(conn, ask->user, ask->message.head.event);

	ask->client.verified_fan = ret == 1;
	return ret < 0 ? ret : 0;
}

/* A place is for good: who may be a fan does not get another's because the database is busy. */
static void fan_done(void *context, int result)
{
	struct ask *ask = context;

	if (!entry_call_over(ask->entry) || result != 0) {
		entry_not_ready(ask->request, "the database");
		ask_free(ask);
		return;
	}
	join_known(ask);
}

void entry_post_join(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, ROLES);
	const json_t *body = ush_http_json(request), *captcha = json_object_get(body, "captcha");
	uint64_t event, device;
	struct ask *ask;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event) ||
		!entry_rate(entry, request, who->user))
		return;
	if (!read_device(json_object_get(body, "device"), &device) ||
		json_string_length(captcha) > USH_CAPTCHA_TOKEN_MAX) {
		ush_http_problem(request, 422, "bad_join", NULL,
			"device: 16 hexadecimal digits in lower case, or null; captcha: up to %u bytes",
			USH_CAPTCHA_TOKEN_MAX);
		return;
	}
	if (!check_work(entry, request, who, (uint32_t)event, json_object_get(body, "work")) ||
		!check_captcha(entry, request, captcha))
		return;
	ask = ask_new(entry, request, who, (uint32_t)event, USH_OP_JOIN);
	if (ask == NULL)
		return;
	ask->device = device;
	if (json_is_string(captcha)) {
		ask->captcha = strdup(json_string_value(captcha));
		USH_ASSERT(ask->captcha != NULL);
	}
	see(ask, who);
	/* Who has no telephone of their own is registered nowhere. */
	if ((who->verified & USH_VERIFIED_PHONE) == 0) {
		join_known(ask);
		return;
	}
	entry->pending++;
	ush_db_run(entry->core->db, USH_DB_READ, fan_job, fan_done, ask);
}

/* ---- place and exchange ---- */

static void put_waiting(json_t *object, const struct ush_reply *reply)
{
	char text[32];

	json_object_set_new(object, "ahead", json_integer((json_int_t)reply->amount));
	entry_time_text((int64_t)(reply->deadline_ns / 1000), text);
	json_object_set_new(
		object, "expected_at", reply->deadline_ns == 0 ? json_null() : json_string(text));
}

static void placed(struct ask *ask, const struct ush_reply *reply)
{
	json_t *object;

	if (reply->status != USH_STATUS_OK && reply->status != USH_STATUS_WAITING &&
		reply->status != USH_STATUS_ROOM_PHASE) {
		entry_refuse(ask->request, reply);
		return;
	}
	object = json_pack("{s:b}", "called", reply->status == USH_STATUS_OK);
	if (reply->status == USH_STATUS_WAITING)
		put_waiting(object, reply);
	if (reply->status == USH_STATUS_ROOM_PHASE)
		json_object_set_new(
			object, "phase", json_string(ush_room_phase_name(reply->detail)));
	ush_http_answer_json(ask->request, 200, object);
}

/* Seconds to wait before asking again: a tenth of the time expected, 2 to 60. */
static void not_called(struct ask *ask, const struct ush_reply *reply)
{
	int64_t left_us = (int64_t)(reply->deadline_ns / 1000) - ush_core_now_us();
	int64_t wait_s = reply->deadline_ns == 0 ? 10 : left_us / 10 / SECOND_US;
	json_t *more = json_object();
	char text[24];

	put_waiting(more, reply);
	wait_s = wait_s < 2 ? 2 : wait_s > 60 ? 60 : wait_s;
	snprintf(text, sizeof(text), "%" PRId64, wait_s);
	ush_http_set(ask->request, "Retry-After", text);
	ush_http_problem(ask->request, 409, "not_called", more,
		"the ticket's turn has not come: follow the status object, then exchange it");
}

/* The wire's TOKEN extension, as docs/admission.md, 7.3, has it. */
static void wire_token(
	const struct ush_reply *reply, uint64_t user, uint8_t wire[USH_JWT_WIRE_BYTES])
{
	struct ush_extension_header header = {
		.type = USH_EXTENSION_TOKEN, .size = USH_JWT_WIRE_BYTES, .value = reply->detail};

	memcpy(wire, &header, 8);
	memcpy(wire + 8, &user, 8);
	memcpy(wire + 16, &reply->deadline_ns, 8);
	memcpy(wire + 24, &reply->hold, 8);
}

static void exchanged(struct ask *ask, const struct ush_reply *reply)
{
	struct ush_entry *entry = ask->entry;
	struct ush_jwt_claims claims = {.user = ask->user,
		.event = ask->message.head.event,
		.tier = (uint8_t)reply->detail,
		.issued_s = (int64_t)((reply->deadline_ns - TOKEN_LIFE_NS) / 1000000000),
		.expires_s = (int64_t)(reply->deadline_ns / 1000000000)};
	char *token, expires[32];

	if (reply->status == USH_STATUS_WAITING) {
		not_called(ask, reply);
		return;
	}
	if (reply->status != USH_STATUS_OK) {
		entry_refuse(ask->request, reply);
		return;
	}
	snprintf(claims.issuer, sizeof(claims.issuer), "%s", entry->core->origin);
	memcpy(claims.account, ask->account, sizeof(claims.account));
	wire_token(reply, ask->user, claims.wire);
	token = ush_jwt_sign(ush_jwt_keys_now(&entry->keys, ush_core_now_us()), &claims);
	if (token == NULL) {
		entry_not_ready(ask->request, "a signature");
		return;
	}
	entry_time_text(claims.expires_s * SECOND_US, expires);
	ush_http_answer_json(ask->request, 200,
		json_pack("{s:s, s:s, s:b}", "token", token, "expires_at", expires, "repeat",
			reply->amount == 1));
	free(token);
}

static void with_ticket(struct ush_http_request *request, struct ush_entry *entry, uint8_t op,
	const char *text, void (*done)(struct ask *ask, const struct ush_reply *reply))
{
	const struct ush_who *who = ush_who_must(request, ROLES);
	struct ush_ticket ticket;
	uint64_t event, words[2];
	struct ask *ask;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event) ||
		!entry_rate(entry, request, who->user))
		return;
	if (text == NULL || !ush_entry_ticket_read(text, &ticket, &words[1])) {
		ush_http_problem(request, 422, "bad_ticket_text", NULL,
			"a ticket is the text of %u characters that joining gave",
			USH_ENTRY_TICKET_CHARS);
		return;
	}
	ask = ask_new(entry, request, who, (uint32_t)event, op);
	if (ask == NULL)
		return;
	words[0] = ticket.number;
	extend(ask, USH_EXTENSION_TICKET, ticket.tier | (uint32_t)ticket.key_id << 8, words,
		sizeof(words));
	ask->done = done;
	ask_send(ask);
}

void entry_get_place(struct ush_http_request *request, void *context)
{
	with_ticket(request, context, USH_OP_POSITION, ush_http_header(request, "Usher-Ticket"),
		placed);
}

void entry_post_exchange(struct ush_http_request *request, void *context)
{
	with_ticket(request, context, USH_OP_EXCHANGE,
		json_string_value(json_object_get(ush_http_json(request), "ticket")), exchanged);
}
