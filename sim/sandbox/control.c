/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /_sandbox: what Stripe does not have. Tests script failures here, play the person who
 * authenticates, open disputes, put the clock forward and read the books.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define SHIFT_MAX_S (400 * 86400)

static bool is(const struct sand_call *call, const char *method, const char *name, uint32_t parts)
{
	return strcmp(call->method, method) == 0 && call->parts == parts &&
	       strcmp(call->part[1], name) == 0;
}

/* What the sandbox does by itself when time has come. */
static void settle(struct sand_call *call)
{
	for (;;) {
		sqlite3_stmt *rows = sand_sql(call->sand,
			"SELECT body FROM objects WHERE due > 0 AND due <= ? ORDER BY due LIMIT 1",
			"i", sand_now(call->sand));
		json_t *object = NULL;

		while (sand_step(call->sand, rows))
			object = json_loads((const char *)sqlite3_column_text(rows, 0), 0, NULL);
		if (object == NULL)
			return;
		sand_put(call->sand, object, 0);
		if (strcmp(sand_text(object, "object"), "refund") == 0)
			sand_refund_settle(call, object);
		else
			sand_intent_expire(call, object);
		json_decref(object);
	}
}

void sand_tick(struct sand *sand)
{
	struct sand_call call = sand_own_call(sand);

	sand_begin(sand);
	settle(&call);
	sand_run(
		sand, "DELETE FROM keys WHERE created <= ?", "i", sand_now(sand) - SAND_KEY_LIFE_S);
	sand_commit(sand);
	json_decref(call.form);
}

static void advance(struct sand_call *call)
{
	struct sand *sand = call->sand;
	json_int_t seconds = -1;
	char text[24];

	if (json_unpack(call->form, "{s:I !}", "advance_s", &seconds) != 0 || seconds < 0 ||
		seconds > SHIFT_MAX_S - sand->clock_shift_s) {
		sand_fail(call, 400, "invalid_request_error", NULL, "advance_s",
			"wanted: advance_s, 0 to %d in all", SHIFT_MAX_S);
		return;
	}
	sand->clock_shift_s += seconds;
	snprintf(text, sizeof(text), "%lld", (long long)sand->clock_shift_s);
	sand_meta_set(sand, "clock_shift_s", text);
	settle(call);
	sand_answer(call, 200, json_pack("{s:I}", "now", (json_int_t)sand_now(sand)));
}

static void dispute_open(struct sand_call *call)
{
	const char *charge_id = NULL, *intent_id = NULL, *reason = "fraudulent";
	json_int_t amount = 0;
	json_t *intent, *charge = NULL;

	if (json_unpack(call->form, "{s?s, s?s, s?s, s?I !}", "charge", &charge_id,
		    "payment_intent", &intent_id, "reason", &reason, "amount", &amount) != 0) {
		sand_fail(call, 400, "invalid_request_error", NULL, NULL,
			"wanted: charge or payment_intent; reason, amount");
		return;
	}
	if (charge_id != NULL) {
		charge = sand_need(call, "charge", charge_id, "charge");
	} else if ((intent = sand_need(call, "payment_intent", intent_id != NULL ? intent_id : "",
			    "payment_intent")) != NULL) {
		charge = sand_need(
			call, "charge", sand_text(intent, "latest_charge"), "payment_intent");
		json_decref(intent);
	}
	if (charge == NULL)
		return;
	if (amount == 0)
		amount = sand_number(charge, "amount_captured");
	if (!sand_true(charge, "captured") || sand_true(charge, "disputed") || amount < 1 ||
		amount > sand_number(charge, "amount_captured"))
		sand_fail(call, 400, "invalid_request_error", NULL, NULL,
			"only a captured charge without a dispute can be disputed, to its amount");
	else
		sand_answer(call, 200, sand_dispute_open(call, charge, reason, amount));
	json_decref(charge);
}

static void dispute_close(struct sand_call *call)
{
	json_t *dispute = sand_need(call, "dispute", call->part[2], NULL);
	const char *status = sand_text(call->form, "status");

	if (dispute == NULL)
		return;
	if (strcmp(sand_text(dispute, "status"), "needs_response") != 0 ||
		(strcmp(status, "won") != 0 && strcmp(status, "lost") != 0)) {
		sand_fail(call, 400, "invalid_request_error", NULL, "status",
			"wanted: status won or lost, of an open dispute");
		json_decref(dispute);
		return;
	}
	sand_dispute_close(call, dispute, strcmp(status, "won") == 0);
	sand_answer(call, 200, dispute);
}

static void deliveries(struct sand_call *call)
{
	sqlite3_stmt *rows = sand_sql(call->sand,
		"SELECT state, COUNT(*), SUM(attempts) FROM deliveries GROUP BY state", "");
	json_t *counts = json_object();

	while (sand_step(call->sand, rows))
		json_object_set_new(counts, (const char *)sqlite3_column_text(rows, 0),
			json_pack("{s:I, s:I}", "count", (json_int_t)sqlite3_column_int64(rows, 1),
				"attempts", (json_int_t)sqlite3_column_int64(rows, 2)));
	sand_answer(call, 200, counts);
}

static const char page_begin[] =
	"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Authenticate</title>"
	"<meta name=\"viewport\" content=\"width=device-width\"><h1>Your bank asks: is it you?</h1>"
	"<p>This is a sandbox: no money moves.</p><form method=\"post\" action=\"?client_secret=";
static const char page_end[] =
	"\"><button name=\"result\" value=\"succeed\">It is me</button> "
	"<button name=\"result\" value=\"fail\">It is not me</button></form></html>";

/* Where the person's browser goes after the answer. */
static void send_back(struct sand_call *call, const json_t *intent, const char *return_url)
{
	const char *status = strcmp(sand_text(intent, "status"), "requires_payment_method") == 0
				     ? "failed"
				     : "succeeded";

	if (return_url == NULL) {
		sand_answer(call, 200, json_deep_copy(intent));
		return;
	}
	if (asprintf(&call->location,
		    "%s%spayment_intent=%s&payment_intent_client_secret=%s&redirect_status=%s",
		    return_url, strchr(return_url, '?') != NULL ? "&" : "?",
		    sand_text(intent, "id"), sand_text(intent, "client_secret"), status) < 0)
		sand_die("memory", "none left");
	call->status = 303;
}

/* The page that 3-D Secure leads to; who has the intent's secret may answer. */
static void authenticate(struct sand_call *call, bool page)
{
	json_t *intent = sand_need(call, "payment_intent", call->part[2], NULL);
	const char *result = sand_text(call->form, "result");
	char *return_url;
	const char *url;

	if (intent == NULL)
		return;
	url = json_string_value(json_object_get(
		json_object_get(json_object_get(intent, "next_action"), "redirect_to_url"),
		"return_url"));
	return_url = url != NULL ? strdup(url) : NULL;
	if (page && strcmp(sand_text(call->form, "client_secret"),
			    sand_text(intent, "client_secret")) != 0) {
		sand_fail(call, 401, "invalid_request_error", NULL, "client_secret",
			"wanted: the intent's client_secret");
	} else if (page && strcmp(call->method, "GET") == 0) {
		if (asprintf(&call->page, "%s%s%s", page_begin, sand_text(intent, "client_secret"),
			    page_end) < 0)
			sand_die("memory", "none left");
		call->status = 200;
	} else if ((strcmp(result, "succeed") != 0 && strcmp(result, "fail") != 0) ||
		   !sand_intent_authenticate(call, intent, strcmp(result, "succeed") == 0)) {
		sand_fail(call, 400, "invalid_request_error", "payment_intent_unexpected_state",
			"result", "wanted: result succeed or fail, of an intent that waits for it");
	} else {
		send_back(call, intent, page ? return_url : NULL);
	}
	free(return_url);
	json_decref(intent);
}

void sand_control(struct sand_call *call)
{
	const char *name = call->parts > 1 ? call->part[1] : "";

	if (is(call, "GET", "health", 2))
		sand_answer(call, 200, json_pack("{s:s}", "status", "ok"));
	else if (is(call, "GET", "books", 2))
		sand_books(call);
	else if (is(call, "GET", "deliveries", 2))
		deliveries(call);
	else if (strcmp(name, "faults") == 0 && call->parts == 2)
		sand_faults(call);
	else if (strcmp(name, "webhooks") == 0 && call->parts == 2)
		sand_webhooks_script(call);
	else if (is(call, "POST", "clock", 2))
		advance(call);
	else if (is(call, "POST", "disputes", 2))
		dispute_open(call);
	else if (is(call, "POST", "disputes", 3))
		dispute_close(call);
	else if (strcmp(name, "authenticate") == 0 && call->parts == 3)
		authenticate(call, true);
	else if (is(call, "POST", "payment_intents", 4) &&
		 strcmp(call->part[3], "authenticate") == 0)
		authenticate(call, false);
}
