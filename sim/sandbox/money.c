/* SPDX-License-Identifier: Apache-2.0 */
/* Charges, refunds and disputes: everything that moves money stands in the ledger, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

json_t *sand_charge_make(struct sand_call *call, json_t *intent, const struct sand_card *card)
{
	bool good = card->code == NULL;
	char id[SAND_ID_BYTES];
	json_t *charge, *details;

	sand_id(id, "ch_");
	details = json_pack("{s:s, s:{s:s, s:s, s:i, s:i, s:s, s:s}}", "type", "card", "card",
		"brand", card->brand, "last4", card->last4, "exp_month", 12, "exp_year", 2034,
		"funding", "credit", "country", "US");
	charge = json_pack("{s:s, s:s, s:I, s:I, s:I, s:n, s:b, s:I, s:O, s:O, s:b, s:b, s:O, s:b,"
			   " s:s, s:s, s:o, s:b, s:s}",
		"id", id, "object", "charge", "amount", sand_number(intent, "amount"),
		"amount_captured", (json_int_t)0, "amount_refunded", (json_int_t)0,
		"balance_transaction", "captured", 0, "created", (json_int_t)sand_now(call->sand),
		"currency", json_object_get(intent, "currency"), "description",
		json_object_get(intent, "description"), "disputed", 0, "livemode", 0, "metadata",
		json_object_get(intent, "metadata"), "paid", good, "payment_intent",
		sand_text(intent, "id"), "payment_method", card->name, "payment_method_details",
		details, "refunded", 0, "status", good ? "succeeded" : "failed");
	USH_ASSERT(charge != NULL);
	json_object_set_new(charge, "outcome",
		json_pack("{s:s, s:s?, s:s, s:i, s:s}", "network_status",
			good ? "approved_by_network" : "declined_by_network", "reason",
			card->decline, "risk_level", "normal", "risk_score", 20, "type",
			good ? "authorized" : "issuer_declined"));
	sand_set_text(charge, "failure_code", card->code);
	sand_set_text(charge, "failure_message", good ? NULL : sand_card_reason(card));
	sand_set_text(intent, "latest_charge", id);
	sand_put(call->sand, charge, 0);
	return charge;
}

void sand_charge_capture(struct sand_call *call, json_t *intent, json_t *charge, json_int_t amount)
{
	char id[SAND_ID_BYTES];

	sand_id(id, "txn_");
	sand_set_text(charge, "balance_transaction", id);
	json_object_set_new(charge, "captured", json_true());
	sand_set_number(charge, "amount_captured", amount);
	sand_put(call->sand, charge, 0);
	sand_set_text(intent, "status", "succeeded");
	sand_set_number(intent, "amount_received", amount);
	sand_set_number(intent, "amount_capturable", 0);
	sand_put(call->sand, intent, 0);
	sand_book(call->sand, "captured", intent, sand_text(charge, "id"), amount);
}

void sand_charge_release(struct sand_call *call, json_t *intent, json_t *charge, const char *event)
{
	json_int_t amount = sand_number(charge, "amount");

	json_object_set_new(charge, "refunded", json_true());
	sand_set_number(charge, "amount_refunded", amount);
	sand_put(call->sand, charge, 0);
	sand_book(call->sand, "released", intent, sand_text(charge, "id"), amount);
	sand_emit(call, event, charge);
}

/* The charge that a refund is for. ret: NULL after an error was answered. */
static json_t *refunded_charge(struct sand_call *call, const char *charge_id, const char *intent_id)
{
	json_t *intent, *charge;

	if ((charge_id == NULL) == (intent_id == NULL)) {
		sand_fail(call, 400, "invalid_request_error", "parameter_missing", "payment_intent",
			"One of the following params should be provided for this request: charge "
			"or payment_intent.");
		return NULL;
	}
	if (charge_id != NULL) {
		charge = sand_need(call, "charge", charge_id, "charge");
		if (charge == NULL)
			return NULL;
	} else {
		intent = sand_need(call, "payment_intent", intent_id, "payment_intent");
		if (intent == NULL)
			return NULL;
		charge = sand_get(call->sand, "charge", sand_text(intent, "latest_charge"));
		json_decref(intent);
	}
	call->begun = true;
	if (charge != NULL && sand_true(charge, "captured"))
		return charge;
	sand_fail(call, 400, "invalid_request_error", "payment_intent_unexpected_state", NULL,
		"This payment does not have a successful, captured charge to refund.");
	json_decref(charge);
	return NULL;
}

static void refund_store(struct sand_call *call, json_t *charge, json_t *refund, int64_t due_s)
{
	json_int_t sum = sand_number(charge, "amount_refunded") + sand_number(refund, "amount");
	json_t *intent =
		sand_get(call->sand, "payment_intent", sand_text(charge, "payment_intent"));

	sand_set_number(charge, "amount_refunded", sum);
	json_object_set_new(
		charge, "refunded", json_boolean(sum == sand_number(charge, "amount_captured")));
	sand_put(call->sand, charge, 0);
	sand_put(call->sand, refund, due_s);
	sand_book(call->sand, "refunded", intent, sand_text(refund, "id"),
		sand_number(refund, "amount"));
	sand_emit(call, "refund.created", refund);
	sand_emit(call, "charge.refunded", charge);
	json_decref(intent);
}

static void refund_charge(
	struct sand_call *call, json_t *charge, json_int_t amount, const char *reason)
{
	const struct sand_card *card = sand_card_find(sand_text(charge, "payment_method"));
	json_int_t left =
		sand_number(charge, "amount_captured") - sand_number(charge, "amount_refunded");
	char id[SAND_ID_BYTES];
	json_t *refund;

	USH_ASSERT(card != NULL);
	if (left == 0) {
		sand_fail(call, 400, "invalid_request_error", "charge_already_refunded", NULL,
			"Charge %s has already been refunded.", sand_text(charge, "id"));
		return;
	}
	if (sand_true(charge, "disputed")) {
		sand_fail(call, 400, "invalid_request_error", "charge_disputed", NULL,
			"Charge %s has been charged back; cannot issue a refund.",
			sand_text(charge, "id"));
		return;
	}
	if (amount == 0)
		amount = left;
	if (amount > left) {
		sand_fail(call, 400, "invalid_request_error", NULL, "amount",
			"Refund amount (%lld) is greater than unrefunded amount on charge (%lld).",
			(long long)amount, (long long)left);
		return;
	}
	sand_id(id, "re_");
	refund = json_pack("{s:s, s:s, s:I, s:n, s:s, s:I, s:O, s:{}, s:O, s:s?, s:s}", "id", id,
		"object", "refund", "amount", amount, "balance_transaction", "charge",
		sand_text(charge, "id"), "created", (json_int_t)sand_now(call->sand), "currency",
		json_object_get(charge, "currency"), "metadata", "payment_intent",
		json_object_get(charge, "payment_intent"), "reason", reason, "status",
		card->refund_pending ? "pending" : "succeeded");
	if (sand_form_metadata(call, refund)) {
		refund_store(call, charge, refund,
			card->refund_pending || card->refund_fails
				? sand_now(call->sand) + call->sand->refund_delay_s
				: 0);
		sand_answer(call, 200, json_incref(refund));
	}
	json_decref(refund);
}

static void refund_create(struct sand_call *call)
{
	static const char *const known[] = {
		"amount", "charge", "payment_intent", "metadata", "reason", NULL};
	static const char *const reasons[] = {
		"duplicate", "fraudulent", "requested_by_customer", NULL};
	const char *charge_id, *intent_id, *reason = NULL;
	json_int_t amount = 0;
	json_t *charge;

	if (!sand_form_known(call, known) || !sand_form_text(call, "charge", false, &charge_id) ||
		!sand_form_text(call, "payment_intent", false, &intent_id) ||
		!sand_form_choice(call, "reason", reasons, &reason) ||
		!sand_form_integer(call, "amount", false, &amount))
		return;
	if (amount < 0 || (amount == 0 && json_object_get(call->form, "amount") != NULL)) {
		sand_fail(call, 400, "invalid_request_error", "parameter_invalid_integer", "amount",
			"Invalid positive integer");
		return;
	}
	charge = refunded_charge(call, charge_id, intent_id);
	if (charge == NULL)
		return;
	refund_charge(call, charge, amount, reason);
	json_decref(charge);
}

void sand_refunds(struct sand_call *call)
{
	const char *charge = NULL, *intent = NULL;
	json_t *refund;

	if (strcmp(call->method, "POST") == 0 && call->parts == 2) {
		refund_create(call);
	} else if (strcmp(call->method, "GET") == 0 && call->parts == 2) {
		if (sand_form_text(call, "charge", false, &charge) &&
			sand_form_text(call, "payment_intent", false, &intent))
			sand_list(call, "refund", charge != NULL ? "charge" : "payment_intent",
				charge != NULL ? charge : intent);
	} else if ((refund = sand_need(call, "refund", call->part[2], NULL)) != NULL) {
		sand_answer(call, 200, refund);
	}
}

void sand_refund_settle(struct sand_call *call, json_t *refund)
{
	json_t *charge = sand_get(call->sand, "charge", sand_text(refund, "charge"));
	json_t *intent =
		sand_get(call->sand, "payment_intent", sand_text(refund, "payment_intent"));
	const struct sand_card *card = sand_card_find(sand_text(charge, "payment_method"));
	json_int_t amount = sand_number(refund, "amount");

	USH_ASSERT(card != NULL);
	if (card->refund_fails) {
		sand_set_text(refund, "status", "failed");
		sand_set_text(refund, "failure_reason", "expired_or_canceled_card");
		sand_set_number(
			charge, "amount_refunded", sand_number(charge, "amount_refunded") - amount);
		json_object_set_new(charge, "refunded", json_false());
		sand_put(call->sand, charge, 0);
		sand_book(call->sand, "refund_failed", intent, sand_text(refund, "id"), amount);
	} else {
		sand_set_text(refund, "status", "succeeded");
	}
	sand_put(call->sand, refund, 0);
	sand_emit(call, card->refund_fails ? "refund.failed" : "refund.updated", refund);
	sand_emit(call, "charge.refund.updated", refund);
	json_decref(charge);
	json_decref(intent);
}

json_t *sand_dispute_open(
	struct sand_call *call, json_t *charge, const char *reason, json_int_t amount)
{
	json_t *intent =
		sand_get(call->sand, "payment_intent", sand_text(charge, "payment_intent"));
	char id[SAND_ID_BYTES];
	json_t *dispute;

	sand_id(id, "dp_");
	dispute = json_pack("{s:s, s:s, s:I, s:[], s:O, s:I, s:O, s:{}, s:b, s:b, s:{}, s:O, s:s,"
			    " s:s}",
		"id", id, "object", "dispute", "amount", amount, "balance_transactions", "charge",
		json_object_get(charge, "id"), "created", (json_int_t)sand_now(call->sand),
		"currency", json_object_get(charge, "currency"), "evidence", "is_charge_refundable",
		0, "livemode", 0, "metadata", "payment_intent",
		json_object_get(charge, "payment_intent"), "reason", reason, "status",
		"needs_response");
	USH_ASSERT(dispute != NULL);
	json_object_set_new(charge, "disputed", json_true());
	sand_put(call->sand, charge, 0);
	sand_put(call->sand, dispute, 0);
	sand_book(call->sand, "disputed", intent, id, amount);
	sand_emit(call, "charge.dispute.created", dispute);
	sand_emit(call, "charge.dispute.funds_withdrawn", dispute);
	json_decref(intent);
	return dispute;
}

void sand_dispute_close(struct sand_call *call, json_t *dispute, bool won)
{
	json_t *intent =
		sand_get(call->sand, "payment_intent", sand_text(dispute, "payment_intent"));

	sand_set_text(dispute, "status", won ? "won" : "lost");
	sand_put(call->sand, dispute, 0);
	sand_book(call->sand, won ? "dispute_won" : "dispute_lost", intent,
		sand_text(dispute, "id"), won ? sand_number(dispute, "amount") : 0);
	sand_emit(call, "charge.dispute.closed", dispute);
	if (won)
		sand_emit(call, "charge.dispute.funds_reinstated", dispute);
	json_decref(intent);
}
