/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders: list, look; transfers with acceptance. A transfer is offered with a code that goes to the
 * other person by any way; only its hash is stored. Who accepts it gets the order: usherd is asked
 * by the version that was offered, so an order that changed since is not given away.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "orders/act.h"
#include "orders/holds.h"

#define BUYERS (1u << USH_ROLE_BUYER | 1u << USH_ROLE_SERVICE)
#define TRANSFER_LIFE_US (14 * 86400000000ll)
#define LIST_MAX 100

enum transfer_state {
	TRANSFER_OFFERED,
	TRANSFER_ACCEPTED,
	TRANSFER_WITHDRAWN
};

/* ---- looking ------------------------------------------------------------------------------- */

struct list {
	struct ush_orders *orders;
	struct ush_http_request *request;
	uint64_t user;
	uint64_t hold;
	int64_t after;
	json_t *body;
	bool found;
};

static json_t *items_of(struct ush_db_conn *conn, int64_t hold)
{
	static const char *const states[] = {"sold", "refunding", "refunded"};
	json_t *items = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT \"row\", \"bit\", price, fee, state FROM orders_items WHERE hold = ? ORDER BY \"row\", \"bit\"",
		"i", hold);

	while (ush_db_next(rows)) {
		int64_t state = ush_db_int(rows, 4);

		json_array_append_new(
			items, json_pack("{sI sI sI sI ss}", "row", (json_int_t)ush_db_int(rows, 0),
				       "bit", (json_int_t)ush_db_int(rows, 1), "price",
				       (json_int_t)ush_db_int(rows, 2), "fee",
				       (json_int_t)ush_db_int(rows, 3), "state",
				       states[state >= 0 && state < 3 ? state : 0]));
	}
	return items;
}

static json_t *order_json(struct ush_db_conn *conn, const struct ush_orders_hold *hold)
{
	json_t *body = act_hold_json(hold);

	json_object_set_new(body, "order", act_number_json(hold->hold));
	json_object_set_new(body, "items", items_of(conn, (int64_t)hold->hold));
	return body;
}

static int list_job(struct ush_db_conn *conn, void *context)
{
	struct list *list = context;
	json_t *items = json_array();
	int64_t holds[LIST_MAX], last = 0;
	uint32_t count = 0;
	struct ush_db_rows *rows;

	json_decref(list->body);
	list->body = NULL;
	rows = ush_db_query(conn,
		"SELECT hold, number FROM orders_holds WHERE \"user\" = ? AND sold_us <> 0 AND number < ? ORDER BY number DESC LIMIT 100",
		"ii", (int64_t)list->user, list->after);
	while (ush_db_next(rows)) {
		holds[count++] = ush_db_int(rows, 0);
		last = ush_db_int(rows, 1);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct ush_orders_hold hold;

		if (ush_orders_find(conn, (uint64_t)holds[i], &hold) == 1)
			json_array_append_new(items, order_json(conn, &hold));
	}
	list->body = json_pack("{so so}", "items", items, "next",
		count == LIST_MAX ? act_number_json((uint64_t)last) : json_null());
	return ush_db_error(conn, NULL);
}

static int look_job(struct ush_db_conn *conn, void *context)
{
	struct list *list = context;
	struct ush_orders_hold hold;
	int found = ush_orders_find(conn, list->hold, &hold);

	json_decref(list->body);
	list->body = NULL;
	if (found < 0)
		return found;
	if (found == 1 && hold.sold_us != 0 && (list->user == 0 || hold.user == list->user))
		list->body = order_json(conn, &hold);
	return ush_db_error(conn, NULL);
}

static void list_done(void *context, int result)
{
	struct list *list = context;

	list->orders->jobs--;
	if (result != 0) {
		json_decref(list->body);
		ush_http_set(list->request, "Retry-After", "1");
		ush_http_problem(list->request, 503, "not_ready", NULL,
			"the database does not answer; try again");
	} else if (list->body == NULL) {
		ush_http_problem(
			list->request, 404, "order_not_found", NULL, "you have no such order");
	} else {
		ush_http_answer_json(list->request, 200, list->body);
	}
	free(list);
}

static struct list *list_new(struct ush_orders *orders, struct ush_http_request *request)
{
	struct list *list = calloc(1, sizeof(*list));

	USH_ASSERT(list != NULL);
	list->orders = orders;
	list->request = request;
	list->after = INT64_MAX;
	orders->jobs++;
	return list;
}

static void get_orders(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	const char *after;
	struct list *list;

	if (who == NULL || !orders_age(orders, request))
		return;
	after = ush_http_query(request, "after");
	list = list_new(orders, request);
	list->user = who->user;
	if (after != NULL)
		list->after = strtoll(after, NULL, 10);
	ush_db_run(orders->core.db, USH_DB_READ, list_job, list_done, list);
}

static void get_order(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who = ush_who_must(request, BUYERS | 1u << USH_ROLE_OPERATOR);
	struct list *list;
	uint64_t hold;

	if (who == NULL || !orders_age(orders, request) ||
		!ush_http_param_number(request, "order", UINT64_MAX, &hold))
		return;
	list = list_new(orders, request);
	list->hold = hold;
	list->user = who->role == USH_ROLE_OPERATOR ? 0 : who->user;
	ush_db_run(orders->core.db, USH_DB_READ, look_job, list_done, list);
}

/* ---- offering a transfer ------------------------------------------------------------------- */

struct transfer {
	struct ush_orders *orders;
	struct ush_http_request *request;
	struct ush_orders_hold hold;
	char code[33];
	char hash[65];
	int64_t ends_us;
	uint64_t from;
	uint64_t to;
	uint64_t order;
	uint32_t event;
	uint32_t version;
	int state;
};

static int offer_job(struct ush_db_conn *conn, void *context)
{
	const struct transfer *t = context;
	int64_t now_us = ush_core_now_us();

	/* The newest offer of an order is the only one. */
	ush_db_exec(conn, "UPDATE orders_transfers SET state = ? WHERE hold = ? AND state = ?",
		"iii", (int64_t)TRANSFER_WITHDRAWN, (int64_t)t->hold.hold,
		(int64_t)TRANSFER_OFFERED);
	ush_db_exec(conn,
		"INSERT INTO orders_transfers (code, hold, event, \"user\", version, state, to_user, made_us, ends_us) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
		"tiiiiiii", t->hash, (int64_t)t->hold.hold, (int64_t)t->hold.event,
		(int64_t)t->hold.user, (int64_t)t->hold.version, (int64_t)TRANSFER_OFFERED, now_us,
		t->ends_us);
	return ush_db_error(conn, NULL);
}

static void offer_done(void *context, int result)
{
	struct transfer *t = context;

	t->orders->jobs--;
	if (result != 0) {
		ush_http_set(t->request, "Retry-After", "1");
		ush_http_problem(t->request, 503, "not_ready", NULL,
			"the database does not answer; try again");
	} else {
		ush_http_answer_json(t->request, 201,
			json_pack("{so ss so}", "order", act_number_json(t->hold.hold), "code",
				t->code, "ends", act_time_json(t->ends_us)));
	}
	free(t);
}

static void offer_found(struct ush_orders *orders, struct ush_http_request *request,
	const struct ush_orders_hold *hold)
{
	struct transfer *t;
	uint8_t chance[16];

	if (hold->state != USH_HOLD_STATE_SOLD) {
		ush_http_problem(request, 409, "hold_state",
			json_pack("{ss}", "state", act_state_name(hold->state)),
			"only an order that is sold can be given away");
		return;
	}
	t = calloc(1, sizeof(*t));
	USH_ASSERT(t != NULL);
	USH_ASSERT(RAND_bytes(chance, sizeof(chance)) == 1);
	t->orders = orders;
	t->request = request;
	t->hold = *hold;
	t->ends_us = ush_core_now_us() + TRANSFER_LIFE_US;
	for (uint32_t i = 0; i < sizeof(chance); i++)
		snprintf(t->code + 2 * i, 3, "%02x", chance[i]);
	orders_code_hash(t->code, t->hash);
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_WRITE, offer_job, offer_done, t);
}

static void post_transfers(struct ush_http_request *request, void *context)
{
	orders_find_own(context, request, "order", offer_found);
}

/* ---- accepting ----------------------------------------------------------------------------- */

static int transfer_find(struct ush_db_conn *conn, void *context)
{
	struct transfer *t = context;
	int64_t hold, event, user, version, state, to;
	int found = ush_db_get(conn,
		"SELECT hold, event, \"user\", version, state, to_user, ends_us FROM orders_transfers WHERE code = ?",
		"t", t->hash, "iiiiiii", &hold, &event, &user, &version, &state, &to, &t->ends_us);

	t->state = -1;
	if (found != 1)
		return found < 0 ? found : 0;
	t->order = (uint64_t)hold;
	t->event = (uint32_t)event;
	t->from = (uint64_t)user;
	t->version = (uint32_t)version;
	t->state = (int)state;
	/* A repeat by the same person goes on: usherd answers the same. */
	if (state == TRANSFER_ACCEPTED && (uint64_t)to == t->to)
		t->state = TRANSFER_OFFERED;
	return 0;
}

static int accepted_job(struct ush_db_conn *conn, void *context)
{
	const struct transfer *t = context;

	ush_db_exec(conn, "UPDATE orders_transfers SET state = ?, to_user = ? WHERE code = ?",
		"iit", (int64_t)TRANSFER_ACCEPTED, (int64_t)t->to, t->hash);
	return ush_db_error(conn, NULL);
}

static void accepted_done(void *context, int result)
{
	struct transfer *t = context;

	t->orders->jobs--;
	if (result != 0)
		ush_core_log(USH_CORE_WARN, "orders", "a transfer is not marked as accepted", NULL);
	free(t);
}

static void given(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	struct transfer *t = act->own;

	(void)bytes;
	if (reply->status != USH_STATUS_OK) {
		act_refuse(act, reply);
		return;
	}
	act->own = NULL;
	t->orders->jobs++;
	ush_db_run(t->orders->core.db, USH_DB_WRITE, accepted_job, accepted_done, t);
	act_answer_hold(act, 200, act->message.head.hold, reply);
}

static void accept_found(void *context, int result)
{
	struct transfer *t = context;
	struct act *act;

	t->orders->jobs--;
	if (result != 0) {
		ush_http_set(t->request, "Retry-After", "1");
		ush_http_problem(t->request, 503, "not_ready", NULL,
			"the database does not answer; try again");
	} else if (t->state < 0 || t->from == t->to) {
		ush_http_problem(t->request, 404, "transfer_not_found", NULL,
			"there is no such transfer, or it is your own");
	} else if (t->state != TRANSFER_OFFERED || t->ends_us < ush_core_now_us()) {
		ush_http_problem(t->request, 410, "transfer_over", NULL,
			"this transfer was accepted, withdrawn, or its time is over");
	} else {
		act = act_new(t->orders, t->request, t->from, t->event, USH_OP_TRANSFER);
		act->message.head.hold = t->order;
		act->message.head.section = (uint16_t)t->version;
		act->message.head.arg = t->to;
		act->own = t;
		act->done = given;
		act_start(act);
		return;
	}
	free(t);
}

static void post_accept(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	struct transfer *t;

	if (who == NULL)
		return;
	t = calloc(1, sizeof(*t));
	USH_ASSERT(t != NULL);
	t->orders = orders;
	t->request = request;
	t->to = who->user;
	orders_code_hash(ush_http_param(request, "code"), t->hash);
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_READ, transfer_find, accept_found, t);
}

void orders_routes_orders(struct ush_orders *orders)
{
	static const struct ush_http_route reads[] = {
		{"GET", "/v1/orders", get_orders, 0, 0},
		{"GET", "/v1/orders/{order}", get_order, 0, 0},
		{0},
	};
	static const struct ush_http_route writes[] = {
		{"POST", "/v1/orders/{order}/transfers", post_transfers, 0, 4096},
		{"POST", "/v1/transfers/{code}/accept", post_accept, 0, 4096},
		{0},
	};

	ush_http_routes_add(orders->core.http, reads, orders);
	if (!orders->core.read_only)
		ush_http_routes_add(orders->core.http, writes, orders);
}
