/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presale codes: each opens one channel of one event, within a time, so many times. Codes are made
 * here and told once; the table has their hashes. Seats are put into a channel with usherd (BLOCK).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "catalogue/catalogue.h"
#include "orders/act.h"
#include "orders/holds.h"

#define CODES_MAX 1000

struct making {
	struct ush_orders *orders;
	struct ush_http_request *request;
	uint32_t event;
	uint32_t channel;
	int64_t uses;
	int64_t starts_us;
	int64_t ends_us;
	uint32_t count;
	uint64_t promoter; /* 0: an operator */
	bool foreign;      /* the event is another promoter's */
	struct ush_who who;
	char code[CODES_MAX][14];
};

static int make_job(struct ush_db_conn *conn, void *context)
{
	struct making *making = context;
	struct ush_catalogue_event event;
	char hash[65], object[32];
	int found;

	making->foreign = false;
	if (making->promoter != 0) {
		found = ush_catalogue_event(conn, making->event, &event);
		if (found < 0)
			return found;
		making->foreign = found == 0 || event.promoter != making->promoter;
		if (found == 1)
			ush_catalogue_event_free(&event);
		if (making->foreign)
			return 0;
	}
	for (uint32_t i = 0; i < making->count; i++) {
		orders_code_hash(making->code[i], hash);
		ush_db_exec(conn,
			"INSERT INTO orders_codes (code, event, channel, uses_max, uses, starts_us, ends_us) VALUES (?, ?, ?, ?, 0, ?, ?)",
			"tiiiii", hash, (int64_t)making->event, (int64_t)making->channel,
			making->uses, making->starts_us, making->ends_us);
	}
	snprintf(object, sizeof(object), "event %u", making->event);
	ush_people_audit(conn, &making->who, "codes.make", object, "presale codes were made");
	return ush_db_error(conn, NULL);
}

static void make_done(void *context, int result)
{
	struct making *making = context;
	json_t *codes = json_array();

	making->orders->jobs--;
	for (uint32_t i = 0; i < making->count; i++)
		json_array_append_new(codes, json_string(making->code[i]));
	if (result == 0 && !making->foreign) {
		ush_http_answer_json(making->request, 201,
			json_pack("{si si so}", "event", (int)making->event, "channel",
				(int)making->channel, "codes", codes));
		free(making);
		return;
	}
	json_decref(codes);
	if (result == 0) {
		ush_http_problem(making->request, 404, "not_found", NULL, "you have no such event");
	} else {
		ush_http_set(making->request, "Retry-After", "1");
		ush_http_problem(making->request, 503, "not_ready", NULL,
			"the database does not answer; try again");
	}
	free(making);
}

/* Without letters that look like others. */
static void make_code(char code[14])
{
	static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	uint8_t chance[12];

	USH_ASSERT(RAND_bytes(chance, sizeof(chance)) == 1);
	for (uint32_t i = 0; i < sizeof(chance); i++)
		code[i] = letters[chance[i] & 31];
	code[12] = '\0';
}

static void post_codes(struct ush_http_request *request, void *context)
{
	struct ush_orders *orders = context;
	const struct ush_who *who =
		ush_who_must(request, 1u << USH_ROLE_PROMOTER | 1u << USH_ROLE_OPERATOR);
	json_int_t channel, count, uses, seconds;
	const json_t *body;
	struct making *making;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	body = ush_http_json(request);
	channel = json_integer_value(json_object_get(body, "channel"));
	count = json_integer_value(json_object_get(body, "count"));
	uses = json_integer_value(json_object_get(body, "uses"));
	seconds = json_integer_value(json_object_get(body, "valid_s"));
	if (channel < 1 || channel > USH_CHANNEL_COUNT_MAX || count < 1 || count > CODES_MAX ||
		uses < 0 || uses > 1000000 || seconds < 0 || seconds > 315360000) {
		ush_http_problem(request, 422, "bad_codes", NULL,
			"channel: 1 to 15; count: 1 to 1000; uses of each, 0: any; valid_s, 0: for ever");
		return;
	}
	making = calloc(1, sizeof(*making));
	USH_ASSERT(making != NULL);
	making->orders = orders;
	making->request = request;
	making->event = (uint32_t)event;
	making->channel = (uint32_t)channel;
	making->uses = uses;
	making->count = (uint32_t)count;
	making->ends_us = seconds != 0 ? ush_core_now_us() + seconds * 1000000 : 0;
	making->promoter = who->role == USH_ROLE_PROMOTER ? who->promoter : 0;
	making->who = *who;
	for (uint32_t i = 0; i < making->count; i++)
		make_code(making->code[i]);
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_WRITE, make_job, make_done, making);
}

void orders_routes_codes(struct ush_orders *orders)
{
	static const struct ush_http_route routes[] = {
		{"POST", "/v1/admin/events/{event}/codes", post_codes, 0, 4096},
		{0},
	};

	ush_http_routes_add(orders->core.http, routes, orders);
}
