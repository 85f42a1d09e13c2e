/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait-lists: join, look, leave. usherd has the list; an entry's name here is only a way back to
 * event and user. An offer is a hold like any other; it is declined by dropping it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "orders/act.h"

#define BUYERS (1u << USH_ROLE_BUYER | 1u << USH_ROLE_SERVICE)

/* An entry in its table. */
struct entry {
	struct ush_orders *orders;
	struct ush_http_request *request;
	struct act *act;
	struct ush_reply reply;
	uint64_t user;
	uint32_t event;
	int64_t seats;
	int64_t tier; /* -1: any */
	char name[33];
	bool found;
	bool leave;
};

/* ---- answers ------------------------------------------------------------------------------- */

static json_t *entry_json(const struct entry *entry, const struct ush_reply *reply)
{
	bool offered = reply->state == USH_HOLD_STATE_HELD || reply->state == USH_HOLD_STATE_PAYING;
	json_t *body = json_pack("{ss si sI ss}", "entry", entry->name, "event", (int)entry->event,
		"seats", (json_int_t)entry->seats, "state", offered ? "offered" : "waiting");

	if (!offered && reply->amount != 0)
		json_object_set_new(body, "place", json_integer((json_int_t)reply->amount));
	if (offered) {
		json_object_set_new(body, "hold", act_number_json(reply->hold));
		json_object_set_new(
			body, "deadline", act_time_json((int64_t)(reply->deadline_ns / 1000)));
		json_object_set_new(body, "amount", json_integer((json_int_t)reply->amount));
	}
	return body;
}

static void database_gone(struct ush_http_request *request)
{
	ush_http_set(request, "Retry-After", "1");
	ush_http_problem(request, 503, "not_ready", NULL,
		"the database does not answer; send the same request again");
}

/* ---- joining ------------------------------------------------------------------------------- */

static int keep_job(struct ush_db_conn *conn, void *context)
{
	struct entry *entry = context;
	char *name = NULL;

	/* One entry a user and event: who asks again has the same name. */
	if (ush_db_get(conn, "SELECT entry FROM orders_waits WHERE \"user\" = ? AND event = ?",
		    "ii", (int64_t)entry->user, (int64_t)entry->event, "t", &name) == 1 &&
		name != NULL) {
		snprintf(entry->name, sizeof(entry->name), "%s", name);
		ush_db_exec(conn, "UPDATE orders_waits SET seats = ?, tier = ? WHERE entry = ?",
			"iit", entry->seats, entry->tier, entry->name);
	} else {
		ush_db_exec(conn,
			"INSERT INTO orders_waits (entry, event, \"user\", seats, tier, made_us) VALUES (?, ?, ?, ?, ?, ?)",
			"tiiiii", entry->name, (int64_t)entry->event, (int64_t)entry->user,
			entry->seats, entry->tier, ush_core_now_us());
	}
	free(name);
	return ush_db_error(conn, NULL);
}

static void keep_done(void *context, int result)
{
	struct entry *entry = context;

	entry->orders->jobs--;
	if (result != 0)
		database_gone(entry->request);
	else
		ush_http_answer_json(entry->request, 201, entry_json(entry, &entry->reply));
	free(entry);
}

static void joined(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	struct entry *entry = act->own;

	(void)bytes;
	if (reply->status != USH_STATUS_OK && reply->status != USH_STATUS_ON_LIST) {
		act_refuse(act, reply);
		return;
	}
	entry->reply = *reply;
	act->own = NULL;
	act_free(act);
	entry->orders->jobs++;
	ush_db_run(entry->orders->core.db, USH_DB_WRITE, keep_job, keep_done, entry);
}

static void post_waitlist(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	const json_t *body, *tier;
	const char *key;
	json_int_t seats;
	struct entry *entry;
	uint8_t chance[16];
	struct act *act;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	key = ush_http_header(request, "Idempotency-Key");
	body = ush_http_json(request);
	tier = json_object_get(body, "tier");
	seats = json_integer_value(json_object_get(body, "seats"));
	if (seats < 1 || seats > USH_WAIT_SEATS_MAX ||
		(tier != NULL && (!json_is_integer(tier) || json_integer_value(tier) < 0 ||
					 json_integer_value(tier) >= USH_EVENT_TIERS_MAX))) {
		ush_http_problem(request, 422, "bad_seats", NULL,
			"seats: 1 to 8; tier: a number of the plan, or left out for any");
		return;
	}
	entry = calloc(1, sizeof(*entry));
	USH_ASSERT(entry != NULL);
	USH_ASSERT(RAND_bytes(chance, sizeof(chance)) == 1);
	*entry = (struct entry){.orders = orders,
		.request = request,
		.user = who->user,
		.event = (uint32_t)event,
		.seats = seats,
		.tier = tier != NULL ? json_integer_value(tier) : -1};
	for (uint32_t i = 0; i < sizeof(chance); i++)
		snprintf(entry->name + 2 * i, 3, "%02x", chance[i]);
	act = act_new(orders, request, who->user, (uint32_t)event, USH_OP_WAIT_LIST);
	act->message.head.arg = (uint64_t)seats;
	if (tier != NULL)
		act->message.head.arg |= (uint64_t)entry->tier << 16 | 1ull << 24;
	snprintf(act->key, sizeof(act->key), "wait:%s", key != NULL ? key : "");
	act->own = entry;
	act->done = joined;
	act_start(act);
}

/* ---- looking and leaving ------------------------------------------------------------------- */

static int find_job(struct ush_db_conn *conn, void *context)
{
	struct entry *entry = context;
	int64_t event;
	int found = ush_db_get(conn,
		"SELECT event, seats, tier FROM orders_waits WHERE entry = ? AND \"user\" = ?",
		"ti", entry->name, (int64_t)entry->user, "iii", &event, &entry->seats,
		&entry->tier);

	entry->found = found == 1;
	if (found == 1)
		entry->event = (uint32_t)event;
	return found < 0 ? found : 0;
}

static int forget_job(struct ush_db_conn *conn, void *context)
{
	const struct entry *entry = context;

	ush_db_exec(conn, "DELETE FROM orders_waits WHERE entry = ?", "t", entry->name);
	return ush_db_error(conn, NULL);
}

static void forget_done(void *context, int result)
{
	struct entry *entry = context;

	entry->orders->jobs--;
	if (result != 0)
		database_gone(entry->request);
	else if (entry->leave)
		ush_http_answer_empty(entry->request, 204);
	else
		ush_http_problem(entry->request, 404, "not_on_waitlist", NULL,
			"this entry is over: left, bought, declined, or the event has ended");
	free(entry);
}

static void looked(struct act *act, const struct ush_reply *reply, size_t bytes)
{
	struct entry *entry = act->own;
	bool over =
		reply->status == USH_STATUS_NOT_ON_LIST || reply->status == USH_STATUS_NOT_ON_SALE;

	(void)bytes;
	if (over || (entry->leave && reply->status == USH_STATUS_OK)) {
		act->own = NULL;
		act_free(act);
		entry->orders->jobs++;
		ush_db_run(entry->orders->core.db, USH_DB_WRITE, forget_job, forget_done, entry);
		return;
	}
	if (reply->status == USH_STATUS_OK) {
		ush_http_answer_json(act->request, 200, entry_json(entry, reply));
	} else if (reply->status == USH_STATUS_ON_LIST) {
		ush_http_problem(act->request, 409, "on_waitlist",
			json_pack("{so}", "hold", act_number_json(reply->hold)),
			"there is an offer: drop the hold to decline it");
	} else {
		act_refuse(act, reply);
		return;
	}
	act_free(act);
}

static void entry_found(void *context, int result)
{
	struct entry *entry = context;
	struct act *act;

	entry->orders->jobs--;
	if (result != 0 || !entry->found) {
		if (result != 0)
			database_gone(entry->request);
		else
			ush_http_problem(entry->request, 404, "not_on_waitlist", NULL,
				"you have no such entry");
		free(entry);
		return;
	}
	act = act_new(entry->orders, entry->request, entry->user, entry->event, USH_OP_WAIT_LIST);
	act->message.head.arg =
		(uint64_t)(entry->leave ? USH_WAIT_ACTION_LEAVE : USH_WAIT_ACTION_LOOK) << 32;
	act->message.head.request_id = 1;
	if (entry->leave)
		snprintf(act->key, sizeof(act->key), "leave:%s", entry->name);
	act->own = entry;
	act->done = looked;
	act_start(act);
}

static void on_entry(struct ush_http_request *request, struct ush_orders *orders, bool leave)
{
	const struct ush_who *who = ush_who_must(request, BUYERS);
	struct entry *entry;

	if (who == NULL)
		return;
	entry = calloc(1, sizeof(*entry));
	USH_ASSERT(entry != NULL);
	entry->orders = orders;
	entry->request = request;
	entry->user = who->user;
	entry->leave = leave;
	snprintf(entry->name, sizeof(entry->name), "%s", ush_http_param(request, "entry"));
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_READ, find_job, entry_found, entry);
}

static void get_waitlist(struct ush_http_request *request, void *context)
{
	on_entry(request, context, false);
}

static void delete_waitlist(struct ush_http_request *request, void *context)
{
	on_entry(request, context, true);
}

void orders_routes_waits(struct ush_orders *orders)
{
	static const struct ush_http_route routes[] = {
		{"POST", "/v1/events/{event}/waitlist", post_waitlist, 0, 4096},
		{"GET", "/v1/waitlist/{entry}", get_waitlist, 0, 0},
		{"DELETE", "/v1/waitlist/{entry}", delete_waitlist, 0, 0},
		{0},
	};

	ush_http_routes_add(orders->core.http, routes, orders);
}
