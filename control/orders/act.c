/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request id is stored under the request's key first; then the message goes to usherd, again
 * and again while it is RETRY, BUSY, or there is no answer: usherd does a request id once. A
 * retried HTTP request finds the id that the first one used.
 *
 * Failure modes: usherd is not there, or does not answer for three seconds: 503, and the same
 * request may be sent again.
 */
#include "orders/act.h"
#include "orders/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALL_MS 1500u
#define MODEL_MS 1000u
#define TRIES_MAX 12u

struct act *act_new(struct ush_orders *orders, struct ush_http_request *request, uint64_t user,
	uint32_t event, uint8_t op)
{
	struct act *act = calloc(1, sizeof(*act));

	USH_ASSERT(act != NULL);
	act->orders = orders;
	orders->acts++;
	act->request = request;
	act->user = user;
	act->event = event;
	act->message.head = (struct ush_request){.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = op,
		.size = sizeof(struct ush_request),
		.event = event,
		.user = user};
	return act;
}

void act_free(struct act *act)
{
	struct ush_orders *orders = act->orders;

	free(act->own);
	free(act);
	orders->acts--;
	orders_let_go(orders);
}

bool act_extend(struct act *act, uint8_t type, uint32_t value, const void *body, uint32_t bytes)
{
	struct ush_request *head = &act->message.head;
	struct ush_extension_header header = {
		.type = type, .size = (uint16_t)(sizeof(header) + bytes), .value = value};

	if (head->size + header.size > sizeof(act->message))
		return false;
	memcpy(act->message.bytes + head->size, &header, sizeof(header));
	if (bytes != 0)
		memcpy(act->message.bytes + head->size + sizeof(header), body, bytes);
	head->size = (uint16_t)(head->size + header.size);
	head->extension_count++;
	return true;
}

bool act_legs(struct act *act, const struct ush_orders_leg *legs, uint32_t count)
{
	struct ush_leg more[USH_LEG_COUNT_MAX] = {0};

	act->message.head.row = legs[0].row;
	act->message.head.mask = legs[0].mask;
	for (uint32_t i = 1; i < count; i++)
		more[i - 1] = (struct ush_leg){.row = legs[i].row, .mask = legs[i].mask};
	return count == 1 || act_extend(act, USH_EXTENSION_LEGS, count - 1, more,
				     (uint32_t)((count - 1) * sizeof(struct ush_leg)));
}

/* ---- JSON ---------------------------------------------------------------------------------- */

uint32_t act_seats_parse(const json_t *seats, struct ush_orders_leg legs[USH_LEG_COUNT_MAX])
{
	uint32_t count = 0;

	for (size_t i = 0; i < json_array_size(seats); i++) {
		const json_t *seat = json_array_get(seats, i);
		json_int_t row = json_integer_value(json_array_get(seat, 0));
		json_int_t bit = json_integer_value(json_array_get(seat, 1));
		uint32_t at = 0;

		if (json_array_size(seat) != 2 || !json_is_integer(json_array_get(seat, 0)) ||
			!json_is_integer(json_array_get(seat, 1)) || row < 0 ||
			row >= USH_EVENT_ROWS_MAX || bit < 0 || bit >= USH_ROW_SEATS_MAX)
			return 0;
		while (at < count && legs[at].row != row)
			at++;
		if (at == USH_LEG_COUNT_MAX)
			return 0;
		if (at == count)
			legs[count++] = (struct ush_orders_leg){.row = (uint16_t)row};
		if ((legs[at].mask >> bit & 1) != 0)
			return 0;
		legs[at].mask |= 1ull << bit;
	}
	return count;
}

json_t *act_number_json(uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return json_string(text);
}

json_t *act_time_json(int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm parts;
	char text[40];
	size_t at;

	if (us == 0 || gmtime_r(&seconds, &parts) == NULL)
		return json_null();
	at = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + at, sizeof(text) - at, ".%03dZ", (int)(us / 1000 % 1000));
	return json_string(text);
}

const char *act_state_name(uint8_t state)
{
	static const char *const names[USH_HOLD_STATE_COUNT] = {"free", "new", "held", "busy",
		"sold", "released", "expired", "paying", "refunding", "refunded"};

	return state < USH_HOLD_STATE_COUNT ? names[state] : "unknown";
}

json_t *act_hold_json(const struct ush_orders_hold *hold)
{
	json_t *seats = json_array();

	for (uint32_t i = 0; i < hold->leg_count; i++) {
		for (uint32_t bit = 0; bit < 64; bit++) {
			if ((hold->leg[i].mask >> bit & 1) != 0)
				json_array_append_new(
					seats, json_pack("[ii]", (int)hold->leg[i].row, (int)bit));
		}
	}
	return json_pack("{so si ss si so sI sI sI sI ss so so so}", "hold",
		act_number_json(hold->hold), "event", (int)hold->event, "state",
		act_state_name(hold->state), "version", (int)hold->version, "seats", seats,
		"amount", (json_int_t)hold->amount, "fee", (json_int_t)hold->fee, "total",
		(json_int_t)hold->total, "refunded", (json_int_t)hold->refunded, "currency",
		hold->currency, "deadline",
		act_time_json(hold->sold_us == 0 ? hold->deadline_us : 0), "sold_at",
		act_time_json(hold->sold_us), "sequence", act_number_json(hold->sequence));
}

/* ---- refusals ------------------------------------------------------------------------------ */

static const struct refusal {
	uint8_t status;
	uint16_t http;
	uint16_t retry_s; /* Retry-After; 0: none */
	const char *code;
	const char *detail;
} refusals[] = {
	{USH_STATUS_TAKEN, 409, 0, "seats_taken",
		"some of these seats are held, sold or off sale; choose others"},
	{USH_STATUS_TAKEN_NOW, 409, 1, "seats_contended",
		"somebody is taking some of these seats this moment; they may come back"},
	{USH_STATUS_CONTENDED, 409, 1, "seats_contended",
		"seats that fit were lost to others; try again with a new key"},
	{USH_STATUS_NONE, 409, 0, "no_seats_fit", "no free seats fit what was asked for"},
	{USH_STATUS_LIMIT, 409, 0, "seat_limit",
		"that would be more seats than one person may have for this event"},
	{USH_STATUS_SOLD_OUT, 409, 0, "sold_out", "every seat is sold; there may be a wait-list"},
	{USH_STATUS_NOT_ON_SALE, 409, 0, "not_on_sale", "the event is not on sale"},
	{USH_STATUS_UNKNOWN_EVENT, 404, 0, "not_found", "there is no such event on sale here"},
	{USH_STATUS_NO_SUCH_SEAT, 422, 0, "no_such_seat", "the plan has no such seat"},
	{USH_STATUS_NO_HOLD, 404, 0, "hold_not_found", "there is no such hold, or it is over"},
	{USH_STATUS_EXPIRED, 410, 0, "hold_expired", "the time of this hold is over"},
	{USH_STATUS_WRONG_STATE, 409, 0, "hold_state", "the hold's state does not allow this"},
	{USH_STATUS_CHANGED, 409, 0, "hold_changed", "the hold has changed meanwhile; look again"},
	{USH_STATUS_COOL_DOWN, 429, 0, "cool_down", "a hold ended unsold a moment ago; wait"},
	{USH_STATUS_HOLD_BUDGET, 429, 0, "hold_budget",
		"that would hold more seats for longer than one person may"},
	{USH_STATUS_ORPHAN, 409, 0, "single_seat_left",
		"this would leave a single free seat between taken ones"},
	{USH_STATUS_CHANNEL, 403, 0, "channel_denied", "these seats are kept for another sale"},
	{USH_STATUS_NOT_SOLD_OUT, 409, 0, "not_sold_out", "free seats fit: book them"},
	{USH_STATUS_ON_LIST, 409, 0, "on_waitlist", "already on this wait-list"},
	{USH_STATUS_NOT_ON_LIST, 404, 0, "not_on_waitlist", "not on this wait-list"},
	{USH_STATUS_BAD_REQUEST, 422, 0, "bad_seats", "that cannot be asked of this event"},
	{USH_STATUS_RETRY, 503, 1, "busy", "another request for this event is under way"},
	{USH_STATUS_BUSY, 503, 1, "busy", "too much is going on; try again"},
	{USH_STATUS_STALE, 409, 0, "request_too_old",
		"this key was used long ago; look what became of it, then use a new one"},
	{USH_STATUS_MISMATCH, 409, 0, "request_too_old",
		"this key was used for another request; use a new one"},
	{USH_STATUS_RATE, 429, 1, "busy", "too many requests"},
};

static void set_retry(struct ush_http_request *request, uint32_t seconds)
{
	char text[12];

	snprintf(text, sizeof(text), "%u", seconds);
	ush_http_set(request, "Retry-After", text);
}

static void refuse_now(struct act *act)
{
	const struct ush_reply *reply = &act->reply;
	const struct refusal *found = NULL;
	json_t *more = NULL;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (refusals[i].status == reply->status)
			found = &refusals[i];
	}
	if (found == NULL) {
		ush_core_log(
			USH_CORE_ERROR, "orders", "an answer of usherd that is not expected", NULL);
		ush_http_problem(act->request, 500, "internal", NULL,
			"the seats' server answered what we do not understand");
		act_free(act);
		return;
	}
	if (reply->status == USH_STATUS_COOL_DOWN)
		set_retry(act->request, (reply->detail + 999) / 1000);
	else if (found->retry_s != 0)
		set_retry(act->request, found->retry_s);
	if (reply->status == USH_STATUS_LIMIT)
		more = json_pack("{si}", "limit", (int)reply->detail);
	else if (reply->status == USH_STATUS_NOT_ON_SALE)
		more = json_pack("{ss}", "event_status", live_status_name((uint8_t)reply->detail));
	else if (reply->status == USH_STATUS_WRONG_STATE)
		more = json_pack("{ss}", "state", act_state_name(reply->state));
	ush_http_problem(act->request, found->http, found->code, more, "%s", found->detail);
	act_free(act);
}

static void gone_now(struct act *act)
{
	set_retry(act->request, 1);
	ush_http_problem(act->request, 503, "seats_unavailable", NULL,
		"the seats' server did not answer; send the same request again");
	act_free(act);
}

static int code_back(struct ush_db_conn *conn, void *context)
{
	const struct act *act = context;

	ush_db_exec(conn, "UPDATE orders_codes SET uses = uses - 1 WHERE code = ? AND uses > 0",
		"t", act->code);
	/* A request that is stored is one that was counted: the same key counts anew. */
	ush_db_exec(conn,
		"DELETE FROM orders_requests WHERE \"user\" = ? AND event = ? AND request_key = ?",
		"iit", (int64_t)act->user, (int64_t)act->event, act->key);
	return ush_db_error(conn, NULL);
}

static void code_back_done(void *context, int result)
{
	struct act *act = context;

	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "orders", "a presale code's use is not given back",
			"error", ush_error_text(result), NULL);
	act->orders->jobs--;
	if (act->gone)
		gone_now(act);
	else
		refuse_now(act);
}

/* A code that was counted for nothing is given back before the refusal is told: who tries again at
 * once has it. */
static void give_code_back(struct act *act)
{
	act->orders->jobs++;
	ush_db_run(act->orders->core.db, USH_DB_WRITE, code_back, code_back_done, act);
}

void act_refuse(struct act *act, const struct ush_reply *reply)
{
	act->reply = *reply;
	if (act->code_counted)
		give_code_back(act);
	else
		refuse_now(act);
}

/* ---- the hold as the model has it ---------------------------------------------------------- */

static int hold_job(struct ush_db_conn *conn, void *context)
{
	struct act *act = context;

	act->found_result = ush_orders_find(conn, act->hold, &act->found);
	return act->found_result < 0 ? act->found_result : 0;
}

static void hold_done(void *context, int result)
{
	struct act *act = context;

	act->orders->jobs--;
	if (result == 0 && act->found_result == 1)
		ush_http_answer_json(act->request, act->status, act_hold_json(&act->found));
	else
		/* Done, but the model is behind: the number is enough to look later. */
		ush_http_answer_json(act->request, act->status,
			json_pack("{so si ss so sI so}", "hold", act_number_json(act->hold),
				"event", (int)act->event, "state", act_state_name(act->reply.state),
				"deadline", act_time_json((int64_t)(act->reply.deadline_ns / 1000)),
				"amount", (json_int_t)act->reply.amount, "sequence",
				act_number_json(act->reply.sequence)));
	act_free(act);
}

static void model_there(void *context, int result)
{
	struct act *act = context;

	(void)result;
	act->orders->jobs++;
	ush_db_run(act->orders->core.db, USH_DB_READ, hold_job, hold_done, act);
}

void act_answer_hold(struct act *act, uint32_t status, uint64_t hold, const struct ush_reply *reply)
{
	act->status = status;
	act->hold = hold;
	act->reply = *reply;
	ush_orders_wait(act->orders, reply->sequence, MODEL_MS, model_there, act);
}

/* The code of a hold: from here the hold's end gives it back (store.c). */
static int use_job(struct ush_db_conn *conn, void *context)
{
	const struct act *act = context;
	int64_t state = 0;

	ush_db_exec(conn,
		"INSERT INTO orders_code_uses (hold, code, made_us) VALUES (?, ?, ?) ON CONFLICT (hold) DO NOTHING",
		"iti", (int64_t)act->hold, act->code, ush_core_now_us());
	ush_db_get(conn, "SELECT state FROM orders_holds WHERE hold = ?", "i", (int64_t)act->hold,
		"i", &state);
	/* It has ended already. (Of a repeat, the use was given back then.) */
	if (state == USH_HOLD_STATE_RELEASED || state == USH_HOLD_STATE_EXPIRED) {
		if (!act->reused)
			return store_code_back(conn, act->hold);
		ush_db_exec(conn, "DELETE FROM orders_code_uses WHERE hold = ?", "i",
			(int64_t)act->hold);
	}
	return ush_db_error(conn, NULL);
}

static void use_done(void *context, int result)
{
	struct act *act = context;

	act->orders->jobs--;
	if (result != 0) {
		set_retry(act->request, 1);
		ush_http_problem(act->request, 503, "not_ready", NULL,
			"the database does not answer; send the same request again");
		act_free(act);
		return;
	}
	act_answer_hold(act, act->status, act->hold, &act->reply);
}

void act_answer_made(struct act *act, const struct ush_reply *reply)
{
	act->status = 201;
	act->hold = reply->hold;
	act->reply = *reply;
	if (act->code[0] == '\0') {
		act_answer_hold(act, 201, reply->hold, reply);
		return;
	}
	act->orders->jobs++;
	ush_db_run(act->orders->core.db, USH_DB_WRITE, use_job, use_done, act);
}

static void gone(void *context, int result)
{
	struct act *act = context;

	(void)result;
	ush_http_answer_empty(act->request, 204);
	act_free(act);
}

void act_answer_gone(struct act *act, const struct ush_reply *reply)
{
	ush_orders_wait(act->orders, reply->sequence, MODEL_MS, gone, act);
}

/* ---- sending ------------------------------------------------------------------------------- */

static void act_send(struct act *act);

static void send_again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	act_send(context);
}

/* Waits longer each time. ret: false: often enough. */
static bool again(struct act *act)
{
	uint32_t ms = act->tries < 8 ? 1u << act->tries : 250;
	struct timeval wait = {.tv_usec = (suseconds_t)ms * 1000};

	if (act->orders->closing || act->tries++ >= TRIES_MAX)
		return false;
	evtimer_assign(&act->timer, act->orders->core.base, send_again, act);
	evtimer_add(&act->timer, &wait);
	return true;
}

/* Whether usherd has made the hold is not known, unless it was never asked. */
static void usherd_gone(struct act *act)
{
	act->gone = true;
	if (act->code_counted && !act->asked && !act->orders->closing)
		give_code_back(act);
	else
		gone_now(act);
}

static void prepare(struct act *act);

static void call_done(void *context, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct act *act = context;

	act->asked = act->asked || result != -USH_ENOENT;
	if (result != 0) {
		act->tries = act->tries < 6 ? 6 : act->tries;
		if (!again(act))
			usherd_gone(act);
		return;
	}
	if ((reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY) && again(act))
		return;
	if ((reply->status == USH_STATUS_STALE || reply->status == USH_STATUS_MISMATCH) &&
		act->key[0] != '\0' && !act->reused && act->bumps++ < 3) {
		/* Somebody else counted for this user: further up. */
		prepare(act);
		return;
	}
	act->done(act, reply, reply_bytes);
}

static void act_send(struct act *act)
{
	ush_link_call(act->orders->core.link, &act->message.head, -1, CALL_MS, call_done, act);
}

/* ---- request ids and codes ----------------------------------------------------------------- */

/* The next id of a user and event; after a clash a thousand further. */
static int next_id(struct ush_db_conn *conn, struct act *act)
{
	int64_t last = ush_core_now_us() / 1000000 - STORE_EPOCH_S;
	int found = ush_db_get(conn,
		"SELECT last_id FROM orders_request_ids WHERE \"user\" = ? AND event = ?", "ii",
		(int64_t)act->user, (int64_t)act->event, "i", &last);

	if (found < 0)
		return found;
	last += act->bumps != 0 ? 1000 : 1;
	if (last < 1 || last > UINT32_MAX)
		return -USH_ERANGE;
	act->request_id = (uint32_t)last;
	ush_db_exec(conn,
		"INSERT INTO orders_request_ids (\"user\", event, last_id) VALUES (?, ?, ?) ON CONFLICT (\"user\", event) DO UPDATE SET last_id = excluded.last_id",
		"iii", (int64_t)act->user, (int64_t)act->event, last);
	ush_db_exec(conn,
		"INSERT INTO orders_requests (\"user\", event, request_key, request_id, made_us) VALUES (?, ?, ?, ?, ?) ON CONFLICT (\"user\", event, request_key) DO UPDATE SET request_id = excluded.request_id",
		"iitii", (int64_t)act->user, (int64_t)act->event, act->key, last,
		ush_core_now_us());
	return ush_db_error(conn, NULL);
}

/* ret: 0, -USH_EACCES: no such code for this event, or not now, or used up. */
static int use_code(struct ush_db_conn *conn, struct act *act)
{
	int64_t channel, now_us = ush_core_now_us();
	int64_t rows;

	if (ush_db_get(conn, "SELECT channel FROM orders_codes WHERE code = ? AND event = ?", "ti",
		    act->code, (int64_t)act->event, "i", &channel) != 1)
		return -USH_EACCES;
	act->channel = (uint32_t)channel;
	if (act->reused || act->code_counted)
		return 0;
	rows = ush_db_exec(conn,
		"UPDATE orders_codes SET uses = uses + 1 WHERE code = ? AND (uses_max = 0 OR uses < uses_max) AND starts_us <= ? AND (ends_us = 0 OR ends_us > ?)",
		"tii", act->code, now_us, now_us);
	if (rows != 1)
		return rows < 0 ? (int)rows : -USH_EACCES;
	act->code_taken = true;
	return 0;
}

static int id_job(struct ush_db_conn *conn, void *context)
{
	struct act *act = context;
	int64_t id = 0;
	int found = 0, error = 0;

	/* Counted once, also if the id has to be made anew. */
	act->code_taken = act->code_counted;
	act->reused = false;
	if (act->bumps == 0)
		found = ush_db_get(conn,
			"SELECT request_id FROM orders_requests WHERE \"user\" = ? AND event = ? AND request_key = ?",
			"iit", (int64_t)act->user, (int64_t)act->event, act->key, "i", &id);
	if (found < 0)
		return found;
	if (found == 1) {
		act->reused = true;
		act->request_id = (uint32_t)id;
		/* It may be the first time that it comes as far as usherd. */
		ush_db_exec(conn,
			"UPDATE orders_requests SET made_us = ? WHERE \"user\" = ? AND event = ? AND request_key = ?",
			"iiit", ush_core_now_us(), (int64_t)act->user, (int64_t)act->event,
			act->key);
		error = ush_db_error(conn, NULL);
	} else {
		error = next_id(conn, act);
	}
	if (error == 0 && act->code[0] != '\0')
		error = use_code(conn, act);
	return error;
}

/* The key of the act's channel has come. */
static void key_done(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct act *act = context;
	const uint8_t *at = (const uint8_t *)(reply + 1);
	const struct ush_extension_header *header = (const void *)at;
	struct ush_key key = {0};
	uint8_t *key_bytes = (uint8_t *)&key;
	uint64_t tag;

	if (result != 0) {
		usherd_gone(act);
		return;
	}
	if (reply->status != USH_STATUS_OK || bytes < sizeof(*reply) + sizeof(*header) + 32 ||
		header->type != USH_EXTENSION_TEXT || header->value != 32) {
		act_refuse(act, reply);
		return;
	}
	for (uint32_t i = 0; i < 16; i++) {
		char text[3] = {(char)at[8 + 2 * i], (char)at[9 + 2 * i], 0};

		key_bytes[i] = (uint8_t)strtoul(text, NULL, 16);
	}
	tag = ush_siphash_2(&key, act->user, (uint64_t)act->event | (uint64_t)act->channel << 32);
	USH_ASSERT(act_extend(
		act, USH_EXTENSION_CHANNEL, act->channel | reply->detail << 8, &tag, sizeof(tag)));
	act_send(act);
}

static void id_done(void *context, int result)
{
	struct act *act = context;

	act->orders->jobs--;
	if (result == -USH_EACCES) {
		ush_http_problem(act->request, 403, "presale_code", NULL,
			"this presale code is not good for this event, not now, or used up");
		act_free(act);
		return;
	}
	if (result != 0) {
		set_retry(act->request, 1);
		ush_http_problem(act->request, 503, "not_ready", NULL,
			"the database does not answer; send the same request again");
		act_free(act);
		return;
	}
	act->code_counted = act->code_taken;
	act->message.head.request_id = act->request_id;
	if (act->channel != 0 && act->bumps == 0) {
		struct ush_request ask = {.magic = USH_REQUEST_MAGIC,
			.version = USH_VERSION,
			.op = USH_OP_CHANNEL_KEY,
			.size = sizeof(ask),
			.event = act->event,
			.section = (uint16_t)act->channel};

		ush_link_call(act->orders->core.link, &ask, -1, CALL_MS, key_done, act);
		return;
	}
	act_send(act);
}

static void prepare(struct act *act)
{
	act->orders->jobs++;
	ush_db_run(act->orders->core.db, USH_DB_WRITE, id_job, id_done, act);
}

void act_start(struct act *act)
{
	if (act->key[0] == '\0')
		act_send(act);
	else
		prepare(act);
}
