/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes. A hold's seats, price and fee come from the read model of orders/; usherd checks the
 * version and the amount again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue.h"
#include "orders/orders.h"
#include "payments/internal.h"
#include "payments/reconcile.h"
#include "payments/task.h"
#include "people/people.h"

#define BUYERS (1u << USH_ROLE_BUYER | 1u << USH_ROLE_SERVICE)
#define OPERATORS (1u << USH_ROLE_OPERATOR)
#define WEBHOOK_BYTES_MAX (256u << 10)

/* A request on its way through jobs. */
struct asked {
	struct ush_payments *payments;
	struct ush_http_request *request;
	struct ush_orders_hold hold;
	uint64_t number, user;
	uint64_t asker;     /* ush_http_key_number */
	int64_t version;    /* that the client named; -1: none */
	struct ush_who who; /* of an operator: for the audit log */
	bool is_operator;
	bool is_refund;
	struct ush_orders_leg seats[USH_LEG_COUNT_MAX];
	uint32_t seat_legs;
	int64_t price, fee;
	json_t *body;
};

static struct asked *new_asked(struct ush_payments *payments, struct ush_http_request *request)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	USH_ASSERT(asked != NULL);
	asked->payments = payments;
	asked->request = request;
	asked->version = -1;
	return asked;
}

static json_t *number_text(uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return json_string(text);
}

static void failed(struct asked *asked, int result)
{
	if (result == -USH_ENOENT)
		ush_http_problem(asked->request, 404, "hold_not_found", NULL,
			"There is no such hold or order of yours.");
	else if (result == -USH_EACCES)
		ush_http_problem(asked->request, 403, "refund_not_allowed", NULL,
			"Orders of this event are refunded by the seller; ask there.");
	else
		ush_http_problem(asked->request, 503, "busy", NULL,
			"It cannot be done now; ask again with the same Idempotency-Key.");
	free(asked);
}

/* ---- payments ---- */

static json_t *pay_json(const struct ush_payments *payments, const struct ush_pay_row *row)
{
	const char *reason = ush_pay_reason_name(row->pay.reason);
	json_t *body = json_pack("{s:o, s:o, s:s, s:s, s:I, s:I, s:s}", "id",
		number_text((uint64_t)row->id), "hold", number_text(row->order.hold), "state",
		ush_pay_step_name(row->pay.step), "reason", reason, "amount",
		(json_int_t)(row->order.amount + row->order.fee), "fee", (json_int_t)row->order.fee,
		"currency", row->order.currency);

	USH_ASSERT(body != NULL);
	if (row->pay.step == USH_PAY_SOLD)
		json_object_set_new(body, "order",
			number_text(row->pay.late ? row->sold_hold : row->order.hold));
	if (row->pay.step == USH_PAY_WAIT) {
		json_object_set_new(body, "client_secret", json_string(row->secret));
		json_object_set_new(body, "provider_key",
			payments->public_key ? json_string(payments->public_key) : json_null());
	}
	return body;
}

static void on_begun(void *context, int result, const struct ush_pay_row *row)
{
	struct asked *asked = context;

	if (result == -USH_EBUSY) {
		ush_http_problem(asked->request, 409, "payment_running", NULL,
			"Another payment of this hold has not ended yet.");
		free(asked);
	} else if (result != 0) {
		failed(asked, result);
	} else if (row->pay.reason == USH_PAY_REASON_REFUSED) {
		ush_http_problem(asked->request, 409, "hold_changed", NULL,
			"The hold changed or is over; look at it again.");
		free(asked);
	} else {
		ush_http_set(asked->request, "Cache-Control", "no-store");
		ush_http_answer_json(asked->request, 201, pay_json(asked->payments, row));
		free(asked);
	}
}

/* Buyers refund by themselves if the shop lets them, or while the window of a postponed event is
 * open. ret: 0; -USH_EACCES; other negative. */
static int may_refund(struct ush_db_conn *conn, const struct asked *asked)
{
	struct ush_catalogue_terms terms = {0};
	int got;

	if (!asked->is_refund || asked->is_operator || asked->payments->buyer_refunds)
		return 0;
	got = ush_catalogue_terms(conn, asked->hold.event, &terms);
	if (got < 0)
		return -USH_EIO;
	return got == 1 && terms.refund_until_us > ush_core_now_us() ? 0 : -USH_EACCES;
}

static int hold_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	int64_t begun = 0;
	int got = ush_orders_find(conn, asked->number, &asked->hold);

	if (got < 0)
		return -USH_EIO;
	if (got == 0 && !asked->is_operator)
		return ush_orders_missing(conn, asked->user);
	if (got == 0 || (asked->hold.user != asked->user && !asked->is_operator))
		return -USH_ENOENT;
	/* Asked again, perhaps by a buyer whose first answer was lost: what it began goes on,
	 * though its seats may be gone from the order by now. */
	if (asked->is_refund && rows_asked(conn, asked->asker, &begun) == 1)
		return 0;
	got = may_refund(conn, asked);
	if (got != 0 || asked->seat_legs == 0)
		return got;
	got = ush_orders_price(
		conn, asked->number, asked->seats, asked->seat_legs, &asked->price, &asked->fee);
	return got == 0 || got == -USH_ENOENT ? got : -USH_EIO;
}

static void audit(struct ush_db_conn *conn, const struct asked *asked, const char *action,
	const char *kind, const char *text)
{
	char object[40];

	snprintf(object, sizeof(object), "%s %" PRIu64, kind, asked->number);
	ush_people_audit(conn, &asked->who, action, object, text);
}

/* What an operator asks for is in the audit log before it is begun. */
static int audited_refund_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	int64_t begun = 0;
	int result;

	asked->price = 0;
	asked->fee = 0;
	result = hold_job(conn, asked);
	if (result != 0 || rows_asked(conn, asked->asker, &begun) == 1)
		return result;
	audit(conn, asked, "order.refund", "order",
		asked->seat_legs > 0 ? "some seats" : "all of it");
	return ush_db_error(conn, NULL);
}

static int audited_all_job(struct ush_db_conn *conn, void *context)
{
	audit(conn, context, "event.refund-all", "event", "");
	return ush_db_error(conn, NULL);
}

static int audited_cancel_job(struct ush_db_conn *conn, void *context)
{
	audit(conn, context, "payment.cancel", "payment", "");
	return ush_db_error(conn, NULL);
}

static void on_hold(void *context, int result)
{
	struct asked *asked = context;
	const struct ush_orders_hold *hold = &asked->hold;
	struct ush_pay_order order;

	if (result != 0) {
		failed(asked, result);
		return;
	}
	memset(&order, 0, sizeof(order));
	order.hold = hold->hold;
	order.user = hold->user;
	order.event = hold->event;
	order.version = asked->version >= 0 ? (uint32_t)asked->version : hold->version;
	order.amount = hold->amount;
	order.fee = hold->fee;
	for (uint32_t i = 0; i < 3; i++)
		order.currency[i] = (char)(hold->currency[i] | 0x20);
	order.leg_count = hold->leg_count;
	for (uint32_t i = 0; i < hold->leg_count; i++) {
		order.legs[i].row = hold->leg[i].row;
		order.legs[i].mask = hold->leg[i].mask;
	}
	ush_driver_begin(asked->payments->driver, &order, asked->asker, on_begun, asked);
}

static void post_payment(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	const json_t *version = json_object_get(ush_http_json(request), "version");
	struct asked *asked;
	uint64_t number;

	if (who == NULL || !payments_ready(payments, request) ||
		!ush_http_param_number(request, "hold", UINT64_MAX, &number))
		return;
	if (version != NULL && (!json_is_integer(version) || json_integer_value(version) < 1 ||
				       json_integer_value(version) > UINT16_MAX)) {
		ush_http_problem(request, 400, "invalid", NULL,
			"version is the hold's version, a number from 1.");
		return;
	}
	asked = new_asked(payments, request);
	asked->asker = ush_http_key_number(request);
	asked->number = number;
	asked->user = who->user;
	asked->version = version != NULL ? json_integer_value(version) : -1;
	ush_db_run(payments->core->db, USH_DB_READ, hold_job, on_hold, asked);
}

static void on_payment(void *context, int result, const struct ush_pay_row *row)
{
	struct asked *asked = context;

	if (result == -USH_ENOENT ||
		(result == 0 && row->order.user != asked->user && !asked->is_operator))
		ush_http_problem(asked->request, 404, "payment_not_found", NULL,
			"There is no such payment of yours.");
	else if (result != 0)
		ush_http_problem(asked->request, 503, "busy", NULL, "Ask again.");
	else {
		if (asked->version == 0)
			ush_driver_cancel(asked->payments->driver, row->id);
		ush_http_set(asked->request, "Cache-Control", "no-store");
		ush_http_answer_json(asked->request, asked->version == 0 ? 202 : 200,
			pay_json(asked->payments, row));
	}
	free(asked);
}

static void on_cancel_audited(void *context, int result)
{
	struct asked *asked = context;

	if (result != 0)
		failed(asked, result);
	else
		ush_driver_find(asked->payments->driver, (int64_t)asked->number, on_payment, asked);
}

static void find_payment(
	struct ush_http_request *request, struct ush_payments *payments, bool cancel)
{
	const struct ush_who *who = ush_who_must(request, BUYERS | OPERATORS);
	struct asked *asked;
	uint64_t number;

	if (who == NULL || !payments_ready(payments, request) ||
		!ush_http_param_number(request, "payment", INT64_MAX, &number))
		return;
	asked = new_asked(payments, request);
	asked->user = who->user;
	asked->is_operator = who->role == USH_ROLE_OPERATOR;
	asked->version = cancel ? 0 : -1;
	asked->number = number;
	asked->who = *who;
	if (cancel && asked->is_operator)
		ush_db_run(payments->core->db, USH_DB_WRITE, audited_cancel_job, on_cancel_audited,
			asked);
	else
		ush_driver_find(payments->driver, (int64_t)number, on_payment, asked);
}

static void get_payment(struct ush_http_request *request, void *context)
{
	find_payment(request, context, false);
}

static void cancel_payment(struct ush_http_request *request, void *context)
{
	find_payment(request, context, true);
}

/* ---- refunds ---- */

static void on_refunded(void *context, int result, const struct ush_back_row *row)
{
	struct asked *asked = context;

	if (result != 0) {
		failed(asked, result);
		return;
	}
	if (row->back.step == USH_BACK_FAILED)
		ush_http_problem(asked->request, 409, "refund_not_allowed",
			json_pack("{s:s}", "provider_code", row->error),
			"Nothing was refunded; the seats stay sold.");
	else
		ush_http_answer_json(asked->request, 201,
			json_pack("{s:o, s:o, s:s, s:I, s:I}", "id", number_text((uint64_t)row->id),
				"order", number_text(row->hold), "state",
				ush_back_step_name(row->back.step), "amount",
				(json_int_t)(row->amount + row->fee), "fee", (json_int_t)row->fee));
	free(asked);
}

static void on_order(void *context, int result)
{
	struct asked *asked = context;
	struct ush_leg legs[USH_LEG_COUNT_MAX];
	char key[64];

	if (result != 0) {
		failed(asked, result);
		return;
	}
	memset(legs, 0, sizeof(legs));
	for (uint32_t i = 0; i < asked->seat_legs; i++) {
		legs[i].row = asked->seats[i].row;
		legs[i].mask = asked->seats[i].mask;
	}
	/* Version and seats make the same refund of the same order one, however it is asked. */
	snprintf(key, sizeof(key), "order-%" PRIu64 "-%u-%08x", asked->number, asked->hold.version,
		ush_crc32c(0, legs, sizeof(legs)));
	ush_driver_refund(asked->payments->driver, key, asked->asker, asked->number,
		asked->hold.user, asked->is_operator, legs, asked->seat_legs, asked->fee,
		on_refunded, asked);
}

/* "seats": [[row, bit], ...] to legs. ret: false if it makes no sense. */
static bool read_seats(struct asked *asked, const json_t *list)
{
	const json_t *seat;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return false;
	json_array_foreach(list, i, seat)
	{
		const json_t *row = json_array_get(seat, 0), *bit = json_array_get(seat, 1);
		uint32_t leg = 0;

		if (!json_is_integer(row) || !json_is_integer(bit) || json_integer_value(row) < 0 ||
			json_integer_value(row) > UINT16_MAX || json_integer_value(bit) < 0 ||
			json_integer_value(bit) > 63)
			return false;
		while (leg < asked->seat_legs && asked->seats[leg].row != json_integer_value(row))
			leg++;
		if (leg == USH_LEG_COUNT_MAX)
			return false;
		asked->seat_legs = leg == asked->seat_legs ? leg + 1 : asked->seat_legs;
		asked->seats[leg].row = (uint16_t)json_integer_value(row);
		asked->seats[leg].mask |= 1ull << json_integer_value(bit);
	}
	return true;
}

static void post_refund(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;
	const struct ush_who *who = ush_who_must(request, BUYERS | OPERATORS);
	const json_t *seats = json_object_get(ush_http_json(request), "seats");
	struct asked *asked;
	uint64_t number;

	if (who == NULL || !payments_ready(payments, request) ||
		!ush_http_param_number(request, "order", UINT64_MAX, &number))
		return;
	asked = new_asked(payments, request);
	asked->is_refund = true;
	asked->asker = ush_http_key_number(request);
	asked->number = number;
	asked->user = who->user;
	asked->is_operator = who->role == USH_ROLE_OPERATOR;
	if (seats != NULL && !read_seats(asked, seats)) {
		ush_http_problem(request, 400, "bad_seats", NULL,
			"seats is a list of [row, bit] in up to 8 rows; leave it out for all.");
		free(asked);
		return;
	}
	asked->who = *who;
	if (asked->is_operator)
		ush_db_run(payments->core->db, USH_DB_WRITE, audited_refund_job, on_order, asked);
	else
		ush_db_run(payments->core->db, USH_DB_READ, hold_job, on_order, asked);
}

static void on_event_kept(void *context, int result, const struct ush_back_row *row)
{
	struct asked *asked = context;

	(void)row;
	if (result != 0) {
		failed(asked, result);
		return;
	}
	ush_http_answer_json(asked->request, 202, json_pack("{s:s}", "state", "refunding"));
	free(asked);
}

static void on_all_audited(void *context, int result)
{
	struct asked *asked = context;

	if (result != 0)
		failed(asked, result);
	else
		ush_driver_refund_event(
			asked->payments->driver, (uint32_t)asked->number, on_event_kept, asked);
}

static void post_refund_all(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;
	const struct ush_who *who = ush_who_must(request, OPERATORS);
	struct asked *asked;
	uint64_t event;

	if (who == NULL || !payments_ready(payments, request) ||
		!ush_http_param_number(request, "event", UINT16_MAX, &event))
		return;
	asked = new_asked(payments, request);
	asked->who = *who;
	asked->number = event;
	ush_db_run(payments->core->db, USH_DB_WRITE, audited_all_job, on_all_audited, asked);
}

/* ---- the provider's webhooks ---- */

static void on_hook_kept(void *context, int result)
{
	struct ush_http_request *request = context;

	if (result == 0)
		ush_http_answer_empty(request, 200);
	else
		ush_http_problem(request, 503, "busy", NULL, "Send it again.");
}

static void post_webhook(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;
	const char *header = ush_http_header(request, "Stripe-Signature");
	struct ush_webhook webhook;
	size_t bytes;
	const void *body = ush_http_body(request, &bytes);
	int64_t now_s = ush_core_now_us() / 1000000;

	if (!payments_ready(payments, request))
		return;
	if (payments->webhook_secret == NULL ||
		(!ush_webhook_verify(header, body, bytes, payments->webhook_secret, now_s) &&
			(payments->previous_secret == NULL ||
				!ush_webhook_verify(
					header, body, bytes, payments->previous_secret, now_s)))) {
		ush_http_problem(request, 400, "signature", NULL,
			"Stripe-Signature does not sign this body now.");
		return;
	}
	if (ush_webhook_read(&webhook, body, bytes) != 0) {
		ush_http_problem(request, 400, "invalid", NULL, "The body is not an event.");
		return;
	}
	ush_driver_webhook(payments->driver, &webhook, on_hook_kept, request);
}

/* ---- disputes ---- */

static int disputes_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	json_t *items = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT id, payment, amount, reason, status FROM payments_disputes"
		" ORDER BY created_us DESC, id LIMIT 1000",
		"");

	while (ush_db_next(rows))
		json_array_append_new(
			items, json_pack("{s:s, s:o, s:I, s:s, s:s}", "id", ush_db_text(rows, 0),
				       "payment", number_text((uint64_t)ush_db_int(rows, 1)),
				       "amount", (json_int_t)ush_db_int(rows, 2), "reason",
				       ush_db_text(rows, 3), "status", ush_db_text(rows, 4)));
	json_decref(asked->body);
	asked->body = json_pack("{s:o, s:n}", "items", items, "next");
	return ush_db_error(conn, NULL);
}

static void on_disputes(void *context, int result)
{
	struct asked *asked = context;

	if (result == 0) {
		ush_http_answer_json(asked->request, 200, asked->body);
		free(asked);
	} else {
		json_decref(asked->body);
		failed(asked, result);
	}
}

static void get_disputes(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;

	if (ush_who_must(request, OPERATORS) == NULL)
		return;
	ush_db_run(payments->core->db, USH_DB_READ, disputes_job, on_disputes,
		new_asked(payments, request));
}

/* ---- what becomes of the seats when a dispute is lost ---- */

struct policy {
	struct ush_http_request *request;
	struct ush_who who;
	uint32_t event;
	int64_t release; /* -1: only asked for */
};

static int policy_job(struct ush_db_conn *conn, void *context)
{
	struct policy *policy = context;
	char object[24];

	if (policy->release >= 0) {
		ush_db_exec(conn,
			"INSERT INTO payments_policies(event, release, changed_us) VALUES(?, ?, ?) ON"
			" CONFLICT(event) DO UPDATE SET release = excluded.release,"
			" changed_us = excluded.changed_us",
			"iii", (int64_t)policy->event, policy->release, ush_core_now_us());
		snprintf(object, sizeof(object), "event %u", policy->event);
		ush_people_audit(conn, &policy->who, "disputes.policy", object,
			policy->release != 0 ? "release" : "keep");
		return ush_db_error(conn, NULL);
	}
	policy->release = 0;
	return ush_db_get(conn, "SELECT release FROM payments_policies WHERE event = ?", "i",
		       (int64_t)policy->event, "i", &policy->release) < 0
		       ? -USH_EIO
		       : 0;
}

static void on_policy(void *context, int result)
{
	struct policy *policy = context;

	if (result == 0)
		ush_http_answer_json(policy->request, 200,
			json_pack("{s:o, s:s}", "event", number_text(policy->event), "lost",
				policy->release != 0 ? "release" : "keep"));
	else
		ush_http_problem(policy->request, 503, "busy", NULL, "Ask again.");
	free(policy);
}

static void ask_policy(
	struct ush_http_request *request, struct ush_payments *payments, int64_t release)
{
	const struct ush_who *who = ush_who_must(request, OPERATORS);
	struct policy *policy;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", UINT16_MAX, &event))
		return;
	policy = calloc(1, sizeof(*policy));
	USH_ASSERT(policy != NULL);
	*policy = (struct policy){
		.request = request, .who = *who, .event = (uint32_t)event, .release = release};
	ush_db_run(payments->core->db, release < 0 ? USH_DB_READ : USH_DB_WRITE, policy_job,
		on_policy, policy);
}

static void get_policy(struct ush_http_request *request, void *context)
{
	ask_policy(request, context, -1);
}

static void post_policy(struct ush_http_request *request, void *context)
{
	const char *lost = json_string_value(json_object_get(ush_http_json(request), "lost"));

	if (lost != NULL && (strcmp(lost, "keep") == 0 || strcmp(lost, "release") == 0))
		ask_policy(request, context, strcmp(lost, "release") == 0);
	else if (ush_who_must(request, OPERATORS) != NULL)
		ush_http_problem(request, 400, "invalid", NULL,
			"lost is keep or release: what becomes of the seats when a dispute is lost.");
}

/* ---- reconciliation ---- */

static void on_reconciled(void *context, int result, json_t *report)
{
	struct asked *asked = context;

	if (result == 0)
		ush_http_answer_json(asked->request, 200, report);
	else
		ush_http_problem(asked->request, 503, "not_ready", NULL,
			"The provider's books or our tables could not be read to their end: %s.",
			ush_error_text(result));
	free(asked);
}

static void get_reconciliation(struct ush_http_request *request, void *context)
{
	struct ush_payments *payments = context;

	if (ush_who_must(request, OPERATORS) != NULL && payments_ready(payments, request))
		ush_reconcile(payments->core->db, payments->provider, on_reconciled,
			new_asked(payments, request));
}

const struct ush_http_route payments_routes[] = {
	{"POST", "/v1/holds/{hold}/payments", post_payment, 0, 0},
	{"GET", "/v1/payments/{payment}", get_payment, 0, 0},
	{"POST", "/v1/payments/{payment}/cancel", cancel_payment, 0, 0},
	{"POST", "/v1/orders/{order}/refunds", post_refund, 0, 0},
	{"POST", "/v1/admin/events/{event}/refund-all", post_refund_all, 0, 0},
	{"POST", "/v1/provider/webhooks", post_webhook,
		USH_HTTP_NO_KEY | USH_HTTP_RAW | USH_HTTP_NO_CSRF, WEBHOOK_BYTES_MAX},
	{"GET", "/v1/admin/reconciliation", get_reconciliation, 0, 0},
	{"GET", "/v1/admin/disputes", get_disputes, 0, 0},
	{"GET", "/v1/admin/events/{event}/dispute-policy", get_policy, 0, 0},
	{"POST", "/v1/admin/events/{event}/dispute-policy", post_policy, 0, 0},
	{.method = NULL},
};
