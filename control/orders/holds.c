/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of holds: make, look, more time, fewer seats, drop. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "orders/act.h"
#include "orders/holds.h"

#define BUYERS (1u << USH_ROLE_BUYER | 1u << USH_ROLE_SERVICE)

/* ---- making -------------------------------------------------------------------------------- */

void orders_code_hash(const char *code, char hash[65])
{
	uint8_t digest[32];

	EVP_Digest(code, strlen(code), digest, NULL, EVP_sha256(), NULL);
	for (uint32_t i = 0; i < 32; i++)
		snprintf(hash + 2 * i, 3, "%02x", digest[i]);
}

/* ret: a number of an object within bounds; the default if it is not there; -1: it is no good. */
static int64_t number_of(const json_t *object, const char *key, int64_t most, int64_t none)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return none;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > most)
		return -1;
	return json_integer_value(value);
}

static bool fill_seats(struct act *act, const json_t *seats)
{
	struct ush_orders_leg legs[USH_LEG_COUNT_MAX];
	uint32_t count = act_seats_parse(seats, legs);

	return count != 0 && act_legs(act, legs, count);
}

/* Room for the seats that usherd chooses. */
static bool fill_room(struct act *act)
{
	const uint8_t zeros[USH_LEG_COUNT_MAX * sizeof(struct ush_leg)] = {0};

	return act_extend(act, USH_EXTENSION_PAD, 0, zeros, sizeof(zeros));
}

static bool fill_best(struct act *act, const json_t *best)
{
	int64_t count = number_of(best, "count", 512, -1);
	int64_t section = number_of(best, "section", USH_EVENT_SECTIONS_MAX - 1, 0);
	int64_t tier = number_of(best, "tier", USH_EVENT_TIERS_MAX - 1, 0);
	int64_t places = number_of(best, "accessible", 255, 0);
	int64_t companions = number_of(best, "companion", 255, 0);
	uint64_t flags = (uint64_t)(json_object_get(best, "section") != NULL) |
			 (uint64_t)(json_object_get(best, "tier") != NULL) << 1 |
			 (uint64_t)json_is_true(json_object_get(best, "together")) << 2;

	if (count < 1 || section < 0 || tier < 0 || places < 0 || companions < 0)
		return false;
	act->message.head.op = USH_OP_RESERVE_BEST;
	act->message.head.section = (uint16_t)section;
	act->message.head.arg = (uint64_t)count | (uint64_t)tier << 16 | flags << 24 |
				(uint64_t)places << 32 | (uint64_t)companions << 40;
	return fill_room(act);
}

static bool fill_area(struct act *act, const json_t *area)
{
	int64_t count = number_of(area, "count", 512, -1);
	int64_t section = number_of(area, "section", USH_EVENT_SECTIONS_MAX - 1, -1);
	int64_t places = number_of(area, "accessible", 255, 0);

	if (count < 1 || section < 0 || places < 0)
		return false;
	act->message.head.op = USH_OP_RESERVE_AREA;
	act->message.head.section = (uint16_t)section;
	act->message.head.arg = (uint64_t)count | (uint64_t)places << 32;
	return fill_room(act);
}

static bool fill_hold(struct act *act, const json_t *body)
{
	const json_t *seats = json_object_get(body, "seats");
	const json_t *best = json_object_get(body, "best");
	const json_t *area = json_object_get(body, "area");
	const json_t *code = json_object_get(body, "code");
	int64_t life = number_of(body, "life_s", USH_HOLD_MS_MAX / 1000, 0);

	if ((seats != NULL) + (best != NULL) + (area != NULL) != 1 || life < 0)
		return false;
	if (code != NULL &&
		(!json_is_string(code) || seats == NULL || json_string_length(code) > 64))
		return false;
	if (code != NULL)
		orders_code_hash(json_string_value(code), act->code);
	act->message.head.hold_ms = (uint32_t)life * 1000;
	if (seats != NULL)
		return fill_seats(act, seats);
	return best != NULL ? fill_best(act, best) : fill_area(act, area);
}

static void made(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	(void)bytes;
	if (reply->status != USH_STATUS_OK)
		act_refuse(act, reply);
	else
		act_answer_made(act, reply);
}

static void post_holds(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	const char *key;
	struct act *act;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	key = ush_http_header(request, "Idempotency-Key");
	act = act_new(orders, request, who->user, (uint32_t)event, USH_OP_RESERVE);
	if (!fill_hold(act, ush_http_json(request))) {
		act_free(act);
		ush_http_problem(request, 422, "bad_seats", NULL,
			"name one of: seats [[row, bit], ...] in at most 8 rows, best {count}, area {section, count}; a code goes with seats");
		return;
	}
	snprintf(act->key, sizeof(act->key), "hold:%s", key != NULL ? key : "");
	act->done = made;
	act_start(act);
}

/* ---- one hold ------------------------------------------------------------------------------ */

struct one {
	struct ush_orders *orders;
	struct ush_http_request *request;
	orders_with_hold *then;
	uint64_t hold;
	uint64_t user;
	bool any; /* an operator may see every hold */
	struct ush_orders_hold found;
	int result;
};

static int one_job(struct ush_db_conn *conn, void *context)
{
	struct one *one = context;

	one->result = ush_orders_find(conn, one->hold, &one->found);
	if (one->result != 0 || one->any)
		return one->result < 0 ? one->result : 0;
	one->result = ush_orders_missing(conn, one->user);
	return one->result == -USH_ENOENT ? 0 : one->result;
}

static void one_done(void *context, int result)
{
	struct one *one = context;

	one->orders->jobs--;
	if (result != 0) {
		ush_http_set(one->request, "Retry-After", "1");
		ush_http_problem(one->request, 503, "not_ready", NULL,
			"the database does not answer, or is behind what you did last; try again");
	} else if (one->result != 1 || (!one->any && one->found.user != one->user)) {
		/* Somebody else's is not told from none. */
		ush_http_problem(one->request, 404, "hold_not_found", NULL,
			"you have no such hold or order");
	} else {
		one->then(one->orders, one->request, &one->found);
	}
	free(one);
}

void orders_find_own(struct ush_orders *orders, struct ush_http_request *request,
	const char *parameter, orders_with_hold *then)
{
	const struct ush_who *who = ush_who_must(request, BUYERS | 1u << USH_ROLE_OPERATOR);
	struct one *one;
	uint64_t hold;

	if (who == NULL || !ush_http_param_number(request, parameter, UINT64_MAX, &hold))
		return;
	one = calloc(1, sizeof(*one));
	USH_ASSERT(one != NULL);
	*one = (struct one){.orders = orders,
		.request = request,
		.then = then,
		.hold = hold,
		.user = who->user,
		.any = who->role == USH_ROLE_OPERATOR};
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_READ, one_job, one_done, one);
}

static void show(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold)
{
	(void)orders;
	ush_http_answer_json(request, 200, act_hold_json(hold));
}

static void get_hold(struct ush_http_request *request, void *context)
{
	orders_find_own(context, request, "hold", show);
}

/* ---- changing ------------------------------------------------------------------------------ */

static void changed(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	(void)bytes;
	if (reply->status != USH_STATUS_OK)
		act_refuse(act, reply);
	else
		act_answer_hold(act, 200, act->message.head.hold, reply);
}

static struct act *act_on(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold, uint8_t op, const char *what)
{
	struct act *act = act_new(orders, request, hold->user, hold->event, op);
	const char *key = ush_http_header(request, "Idempotency-Key");

	act->message.head.hold = hold->hold;
	act->done = changed;
	/* Without a key: the same change of the same version is the same request. */
	if (key != NULL)
		snprintf(act->key, sizeof(act->key), "%s:%s", what, key);
	else
		snprintf(act->key, sizeof(act->key), "%s/%" PRIu64 "/%u", what, hold->hold,
			hold->version);
	return act;
}

/* {"extend_s": n}, {"release": [[row, bit], ...]} or {"swap": {"take": ..., "give": ...}}. */
static bool fill_change(struct act *act, const json_t *body)
{
	const json_t *release = json_object_get(body, "release");
	const json_t *swap = json_object_get(body, "swap");
	struct ush_orders_leg legs[USH_LEG_COUNT_MAX];
	struct ush_leg give[USH_LEG_COUNT_MAX] = {0};
	int64_t extend = number_of(body, "extend_s", USH_HOLD_MS_MAX / 1000, -1);
	uint32_t count;

	if ((release != NULL) + (swap != NULL) + (json_object_get(body, "extend_s") != NULL) != 1)
		return false;
	if (release != NULL) {
		act->message.head.op = USH_OP_RELEASE;
		return fill_seats(act, release);
	}
	if (swap == NULL) {
		act->message.head.hold_ms = (uint32_t)extend * 1000;
		return extend >= 0;
	}
	act->message.head.op = USH_OP_SWAP;
	count = act_seats_parse(json_object_get(swap, "give"), legs);
	for (uint32_t i = 0; i < count; i++)
		give[i] = (struct ush_leg){.row = legs[i].row, .mask = legs[i].mask};
	return count != 0 && fill_seats(act, json_object_get(swap, "take")) &&
	       act_extend(
		       act, USH_EXTENSION_GIVE, count, give, (uint32_t)(count * sizeof(give[0])));
}

static void change_found(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold)
{
	struct act *act = act_on(orders, request, hold, USH_OP_EXTEND, "change");

	if (!fill_change(act, ush_http_json(request))) {
		act_free(act);
		ush_http_problem(request, 422, "bad_seats", NULL,
			"name one of: extend_s, release [[row, bit], ...], swap {take, give}");
		return;
	}
	act_start(act);
}

static void patch_hold(struct ush_http_request *request, void *context)
{
	orders_find_own(context, request, "hold", change_found);
}

static void dropped(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	(void)bytes;
	/* Seats and a presale code are free when the answer is there. */
	if (reply->status == USH_STATUS_OK) {
		act_answer_gone(act, reply);
		return;
	}
	/* What is over already was dropped, whoever did it. */
	if (reply->status == USH_STATUS_NO_HOLD || reply->status == USH_STATUS_EXPIRED) {
		ush_http_answer_empty(act->request, 204);
		act_free(act);
		return;
	}
	act_refuse(act, reply);
}

static void drop_found(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold)
{
	struct act *act = act_on(orders, request, hold, USH_OP_RELEASE, "drop");

	act->done = dropped;
	act_start(act);
}

static void delete_hold(struct ush_http_request *request, void *context)
{
	orders_find_own(context, request, "hold", drop_found);
}

void orders_routes_holds(struct ush_orders *orders)
{
	static const struct ush_http_route routes[] = {
		{"POST", "/v1/events/{event}/holds", post_holds, 0, 16384},
		{"GET", "/v1/holds/{hold}", get_hold, 0, 0},
		{"PATCH", "/v1/holds/{hold}", patch_hold, 0, 16384},
		{"DELETE", "/v1/holds/{hold}", delete_hold, 0, 0},
		{0},
	};

	ush_http_routes_add(orders->core.http, routes, orders);
}
