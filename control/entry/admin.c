/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's control of a waiting room, as requests: what one says becomes an order
 * (order.h), and what comes of it the answer.
 *
 * Failure modes: usherd does not answer: 503, and the same action may be sent again: what is done
 * already says so by the phase.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "entry/order.h"

#define ROLES (1u << USH_ROLE_OPERATOR)
#define SLOW_PLACES 1000u

/* ---- answers ---- */

static void answer_done(const struct order *order, struct ush_http_request *request)
{
	json_t *answer = json_pack("{s:s, s:I, s:I, s:I}", "action", order->action, "event",
		(json_int_t)order->event, "sequence", (json_int_t)order->reply.sequence, "places",
		(json_int_t)order->plan.places);
	char text[32];

	if (order->plan.root[0] != '\0')
		json_object_set_new(answer, "root", json_string(order->plan.root));
	if (order->repeat)
		json_object_set_new(answer, "repeat", json_true());
	if (order->wants == WANTS_PLAN) {
		entry_time_text(order->plan.opens_us, text);
		json_object_set_new(answer, "opens_at", json_string(text));
		json_object_set_new(answer, "seed_hash",
			ush_hex_json(order->plan.open.seed_hash, USH_HASH_BYTES));
	}
	ush_http_answer_json(request, 200, answer);
}

static void order_done(struct order *order, enum order_end how)
{
	struct ush_http_request *request = order->context;

	switch (how) {
	case ORDER_DONE:
		answer_done(order, request);
		break;
	case ORDER_REFUSED:
		entry_refuse(request, &order->reply);
		break;
	case ORDER_NO_LOBBY:
		entry_refuse_lobby(request, order->lobby_status);
		break;
	case ORDER_PLANNED:
		ush_http_problem(request, 409, "planned", NULL,
			"the room opens by itself, or was opened: see the schedule; \"unplan\" takes back what is planned");
		break;
	case ORDER_NO_PLAN:
		ush_http_problem(request, 409, "no_plan", NULL,
			"nothing is planned that could be taken back");
		break;
	case ORDER_NOT_READY:
	case ORDER_GONE:
		entry_not_ready(request, order->missing);
		break;
	}
}

/* ---- actions ---- */

static bool bad(const struct order *order, const char *what)
{
	ush_http_problem(order->context, 422, "bad_queue_action", NULL, "%s", what);
	return false;
}

static bool number_in(const json_t *body, const char *key, uint64_t least, uint64_t most,
	uint64_t none, uint64_t *value)
{
	const json_t *given = json_object_get(body, key);

	*value = none;
	if (given == NULL)
		return none >= least;
	*value = (uint64_t)json_integer_value(given);
	return json_is_integer(given) && json_integer_value(given) >= 0 && *value >= least &&
	       *value <= most;
}

/* ret: false: no time as the API writes them. out: 0: none given. */
static bool read_time(const json_t *value, int64_t *us)
{
	const char *text = json_string_value(value), *end;
	struct tm parts = {0};

	*us = 0;
	if (value == NULL || json_is_null(value))
		return true;
	end = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
	if (end == NULL || *end != '\0')
		return false;
	*us = (int64_t)timegm(&parts) * 1000000;
	return true;
}

/* ret: false: refused: a time that is none, or that the other contradicts. */
static bool fill_times(struct order *order, const json_t *body)
{
	struct entry_plan *plan = &order->plan;
	int64_t now_us = ush_core_now_us();

	if (!read_time(json_object_get(body, "closes_at"), &plan->closes_us) ||
		(plan->closes_us != 0 && plan->closes_us <= now_us))
		return bad(order, "closes_at: a time to come, as 2026-11-28T20:00:00Z");
	if (!read_time(json_object_get(body, "opens_at"), &plan->opens_us) ||
		(plan->opens_us != 0 && plan->opens_us <= now_us))
		return bad(order, "opens_at: a time to come, as 2026-11-28T18:00:00Z");
	if (plan->opens_us != 0 && plan->closes_us != 0 && plan->closes_us <= plan->opens_us)
		return bad(order, "closes_at is after opens_at");
	return true;
}

/* The root is published before the beacon speaks (docs/draw.md). */
static bool round_fits(struct order *order, const struct ush_room_open *open)
{
	const struct ush_beacon *beacon = &order->entry->beacon;
	int64_t first_us = order->plan.closes_us != 0 ? order->plan.closes_us : ush_core_now_us();

	if (!ush_beacon_is(beacon, (const char *)open->source, open->source_bytes, open->round) ||
		ush_beacon_round_us(beacon, open->round) > first_us)
		return true;
	return bad(order, "the beacon's round comes before the lobby is closed: name a later one");
}

static bool fill_open(struct order *order, const json_t *body)
{
	const json_t *beacon = json_object_get(body, "beacon");
	const char *source = json_string_value(json_object_get(beacon, "source"));
	uint64_t users, cap, devices, places, round;
	uint8_t seed[ENTRY_SEED_BYTES];
	struct ush_room_open open;
	struct ush_message message;

	if (!fill_times(order, body))
		return false;
	if (!number_in(body, "users", 1, UINT32_MAX, 0, &users) ||
		!number_in(body, "cap", 0, 60000000, USH_ROOM_NO_CAP, &cap) ||
		!number_in(body, "device_users", 0, UINT32_MAX, 4, &devices) ||
		!number_in(body, "slow_places", 0, UINT32_MAX, SLOW_PLACES, &places) ||
		!number_in(beacon, "round", 0, INT64_MAX, 0, &round) || source == NULL ||
		strlen(source) >= sizeof(open.source))
		return bad(order,
			"open wants users, beacon {source, round}; and may have opens_at, closes_at, cap, device_users, slow_places");
	if (entry_seed_of(order->entry, order->event, true, seed, &message) != 0) {
		ush_core_log(USH_CORE_ERROR, "entry", message.text, NULL);
		entry_not_ready(order->context, "a seed of the draw");
		return false;
	}
	open = (struct ush_room_open){.round = round,
		.users = (uint32_t)users,
		.device_users = (uint32_t)devices,
		.slow_places = (uint32_t)places,
		.cap = (uint32_t)cap,
		.source_bytes = (uint8_t)strlen(source)};
	memcpy(open.source, source, strlen(source));
	if (!round_fits(order, &open)) {
		OPENSSL_cleanse(seed, sizeof(seed));
		return false;
	}
	ush_draw_seed_hash(order->event, seed, open.seed_hash);
	OPENSSL_cleanse(seed, sizeof(seed));
	if (order->plan.opens_us != 0)
		order_plan(order, &open);
	else
		order_open(order, &open);
	return true;
}

/* What was published is kept: a lobby is not closed before its time. */
static bool fill_close(struct order *order)
{
	const struct entry_room *room = order->entry->by_event[order->event];

	order_close(order);
	if (room == NULL || !room->closes_known)
		return true;
	memcpy(order->plan.open.seed_hash, room->closes_of, sizeof(room->closes_of));
	order->row_there = true;
	if (room->closes_us <= ush_core_now_us())
		return true;
	ush_http_problem(order->context, 409, "too_early", NULL,
		"it was published that the lobby closes later: see closes_at of the status object");
	return false;
}

static bool fill_draw(struct order *order, const json_t *body)
{
	const char *value = json_string_value(json_object_get(body, "value"));
	size_t digits = value != NULL ? strlen(value) : 0;
	uint8_t beacon[USH_DRAW_BEACON_MAX];
	struct ush_message message;

	if (digits % 2 != 0 || digits < 2 * USH_DRAW_BEACON_MIN ||
		digits > 2 * USH_DRAW_BEACON_MAX || strspn(value, "0123456789abcdef") != digits)
		return bad(order,
			"draw wants value: the beacon's, 32 to 128 lower-case hexadecimal digits");
	for (size_t i = 0; i < digits / 2; i++) {
		const char pair[3] = {value[2 * i], value[2 * i + 1], '\0'};

		beacon[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	if (order_draw(order, beacon, (uint32_t)(digits / 2), &message) != 0) {
		ush_core_log(USH_CORE_ERROR, "entry", message.text, NULL);
		entry_not_ready(order->context, "the seed of the draw");
		return false;
	}
	return true;
}

static bool fill_rate(struct order *order, const json_t *body)
{
	uint64_t rate;

	if (json_is_null(json_object_get(body, "per_minute")))
		rate = USH_ROOM_NO_CAP;
	else if (json_object_get(body, "per_minute") == NULL ||
		 !number_in(body, "per_minute", 0, 60000000, 0, &rate))
		return bad(order, "rate wants per_minute: people a minute, or null for no bound");
	order->message.head.arg = USH_ROOM_ACTION_SET | 1u << 8 | rate << 32;
	return true;
}

static bool fill(struct order *order, const json_t *body)
{
	static const struct {
		const char *name;
		uint64_t arg; /* 0: it wants more */
	} actions[] = {
		{"open", 0},
		{"close", USH_ROOM_ACTION_CLOSE},
		{"draw", 0},
		{"rate", 0},
		{"pause", USH_ROOM_ACTION_SET | 1u << 9 | 1u << 10},
		{"resume", USH_ROOM_ACTION_SET | 1u << 9},
		{"key", USH_ROOM_ACTION_KEY},
		{"unplan", 0},
	};
	const char *name = json_string_value(json_object_get(body, "action"));

	for (size_t i = 0; name != NULL && i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(name, actions[i].name) != 0)
			continue;
		order->action = actions[i].name;
		order->message.head.arg = actions[i].arg;
		if (strcmp(name, "open") == 0)
			return fill_open(order, body);
		if (strcmp(name, "close") == 0)
			return fill_close(order);
		if (strcmp(name, "draw") == 0)
			return fill_draw(order, body);
		if (strcmp(name, "unplan") == 0)
			order_unplan(order);
		return strcmp(name, "rate") == 0 ? fill_rate(order, body) : true;
	}
	return bad(order, "action: open, close, draw, rate, pause, resume, key, unplan");
}

void entry_post_admin(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, ROLES);
	struct order *order;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	order = order_new(entry, (uint32_t)event, "");
	if (order == NULL) {
		entry_not_ready(request, "memory");
		return;
	}
	order->done = order_done;
	order->context = request;
	order->who = *who;
	if (!fill(order, ush_http_json(request))) {
		order_drop(order);
		return;
	}
	order_begin(order);
}

/* ---- keys of access tokens ---- */

struct rotated {
	struct ush_http_request *request;
	struct ush_who who;
	char kid[24];
};

static int rotated_job(struct ush_db_conn *conn, void *context)
{
	const struct rotated *rotated = context;

	ush_people_audit(conn, &rotated->who, "access-keys", rotated->kid, "a new key");
	return ush_db_error(conn, NULL);
}

static void rotated_done(void *context, int result)
{
	struct rotated *rotated = context;

	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "entry", "a new key is not in the audit log", "error",
			ush_error_text(result), NULL);
	ush_http_answer_json(rotated->request, 201,
		json_pack("{s:s, s:I}", "kid", rotated->kid, "signs_in_s",
			(json_int_t)(USH_JWT_AHEAD_US / 1000000)));
	free(rotated);
}

void entry_post_rotate(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, ROLES);
	struct ush_message message;
	struct rotated *rotated;

	if (who == NULL)
		return;
	rotated = calloc(1, sizeof(*rotated));
	if (rotated == NULL || ush_jwt_keys_rotate(&entry->keys, entry->folder, entry->alg,
				       ush_core_now_us(), &message) != 0) {
		free(rotated);
		entry_not_ready(request, "a new key");
		return;
	}
	entry_keys_changed(entry);
	*rotated = (struct rotated){.request = request, .who = *who};
	memcpy(rotated->kid, entry->keys.key[entry->keys.count - 1].kid, sizeof(rotated->kid));
	ush_db_run(entry->core->db, USH_DB_WRITE, rotated_job, rotated_done, rotated);
}
