/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PaymentIntents.
 *
 *     requires_payment_method -> requires_confirmation -> (requires_action) -> succeeded
 *                                                                           -> requires_capture
 *     requires_capture -> succeeded | canceled
 *
 * A declined charge answers 402 and takes the intent back to requires_payment_method; so does a
 * failed authentication. From any state but succeeded and canceled it can be cancelled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define AMOUNT_MAX 99999999

static bool is_status(const json_t *intent, const char *status)
{
	return strcmp(sand_text(intent, "status"), status) == 0;
}

static void unexpected(struct sand_call *call, const json_t *intent, const char *what)
{
	sand_fail(call, 400, "invalid_request_error", "payment_intent_unexpected_state", NULL,
		"This PaymentIntent could not be %s because it has a status of %s.", what,
		sand_text(intent, "status"));
	json_object_set_new(
		json_object_get(call->answer, "error"), "payment_intent", json_deep_copy(intent));
}

/* The intent cannot go on with this payment method, for this reason. */
static void payment_failed(struct sand_call *call, json_t *intent, const char *type,
	const char *code, const char *decline, const char *message)
{
	json_t *error = json_pack("{s:s, s:s, s:s?, s:s, s:O?}", "type", type, "code", code,
		"decline_code", decline, "message", message, "charge",
		json_object_get(intent, "latest_charge"));

	USH_ASSERT(error != NULL);
	json_object_set_new(error, "payment_method",
		sand_card_method(sand_card_find(sand_text(intent, "payment_method")),
			sand_number(intent, "created")));
	json_object_set_new(intent, "last_payment_error", error);
	sand_set_text(intent, "status", "requires_payment_method");
	sand_set_text(intent, "payment_method", NULL);
	sand_set_text(intent, "next_action", NULL);
	sand_put(call->sand, intent, 0);
	sand_emit(call, "payment_intent.payment_failed", intent);
}

/* Answers 402 with what payment_failed has noted. */
static void answer_failure(struct sand_call *call, const json_t *intent)
{
	json_t *error = json_deep_copy(json_object_get(intent, "last_payment_error"));

	json_object_set_new(error, "payment_intent", json_deep_copy(intent));
	sand_answer(call, 402, json_pack("{s:o}", "error", error));
}

/* The issuer is asked. ret: it said yes. */
static bool charge_card(struct sand_call *call, json_t *intent, const struct sand_card *card)
{
	bool manual = strcmp(sand_text(intent, "capture_method"), "manual") == 0;
	json_int_t amount = sand_number(intent, "amount");
	json_t *charge = sand_charge_make(call, intent, card);

	sand_set_text(intent, "next_action", NULL);
	if (card->code != NULL) {
		sand_emit(call, "charge.failed", charge);
		json_decref(charge);
		payment_failed(call, intent, "card_error", card->code, card->decline,
			sand_card_reason(card));
		return false;
	}
	sand_set_text(intent, "last_payment_error", NULL);
	sand_book(call->sand, "authorised", intent, sand_text(charge, "id"), amount);
	if (manual) {
		sand_set_text(intent, "status", "requires_capture");
		sand_set_number(intent, "amount_capturable", amount);
		sand_put(call->sand, intent, sand_now(call->sand) + SAND_AUTHORISATION_S);
	} else {
		sand_charge_capture(call, intent, charge, amount);
	}
	sand_emit(call, "charge.succeeded", charge);
	sand_emit(call,
		manual ? "payment_intent.amount_capturable_updated" : "payment_intent.succeeded",
		intent);
	if (card->dispute != NULL && !manual)
		json_decref(sand_dispute_open(call, charge, card->dispute, amount));
	json_decref(charge);
	return true;
}

static void ask_person(struct sand_call *call, json_t *intent, const char *return_url)
{
	char url[400];

	snprintf(url, sizeof(url), "%s/_sandbox/authenticate/%s?client_secret=%s",
		call->sand->origin, sand_text(intent, "id"), sand_text(intent, "client_secret"));
	if (return_url != NULL)
		json_object_set_new(intent, "next_action",
			json_pack("{s:s, s:{s:s, s:s}}", "type", "redirect_to_url",
				"redirect_to_url", "url", url, "return_url", return_url));
	else
		json_object_set_new(intent, "next_action",
			json_pack("{s:s, s:{s:s, s:s}}", "type", "use_stripe_sdk", "use_stripe_sdk",
				"type", "three_d_secure_redirect", "stripe_js", url));
	sand_set_text(intent, "status", "requires_action");
	sand_put(call->sand, intent, 0);
	sand_emit(call, "payment_intent.requires_action", intent);
}

bool sand_intent_authenticate(struct sand_call *call, json_t *intent, bool success)
{
	const struct sand_card *card = sand_card_find(sand_text(intent, "payment_method"));

	if (!is_status(intent, "requires_action") || card == NULL)
		return false;
	if (success)
		charge_card(call, intent, card);
	else
		payment_failed(call, intent, "invalid_request_error",
			"payment_intent_authentication_failure", NULL,
			"The provided PaymentMethod has failed authentication. You can provide "
			"payment_method_data or a new PaymentMethod to attempt to fulfill this "
			"PaymentIntent again.");
	return true;
}

/* ret: false after an error was answered. out: NULL when no method is given. */
static bool method_given(struct sand_call *call, const struct sand_card **card)
{
	const char *name;

	*card = NULL;
	if (!sand_form_text(call, "payment_method", false, &name))
		return false;
	if (name == NULL)
		return true;
	*card = sand_card_find(name);
	if (*card == NULL)
		sand_fail(call, 400, "invalid_request_error", "resource_missing", "payment_method",
			"No such PaymentMethod: '%.60s'", name);
	return *card != NULL;
}

/* How a confirmation is to go, from its parameters. */
struct confirmation {
	const char *return_url;
	bool off_session;
	bool error_on_action;
};

static bool read_confirmation(struct sand_call *call, struct confirmation *how)
{
	*how = (struct confirmation){0};
	if (!sand_form_text(call, "return_url", false, &how->return_url) ||
		!sand_form_bool(call, "off_session", &how->off_session) ||
		!sand_form_bool(call, "error_on_requires_action", &how->error_on_action))
		return false;
	if (how->return_url != NULL && strncmp(how->return_url, "http://", 7) != 0 &&
		strncmp(how->return_url, "https://", 8) != 0) {
		sand_fail(call, 400, "invalid_request_error", "url_invalid", "return_url",
			"Not a valid URL");
		return false;
	}
	return true;
}

static void confirm(struct sand_call *call, json_t *intent, const struct confirmation *how)
{
	const struct sand_card *card = sand_card_find(sand_text(intent, "payment_method"));
	bool asked = card != NULL && card->authenticate;

	if (card == NULL) {
		sand_fail(call, 400, "invalid_request_error", "payment_intent_unexpected_state",
			NULL,
			"You cannot confirm this PaymentIntent because it's missing a payment "
			"method.");
		return;
	}
	if (asked && (how->off_session || how->error_on_action)) {
		payment_failed(call, intent, "card_error", "authentication_required",
			"authentication_required",
			"Your card was declined. This transaction requires authentication.");
		answer_failure(call, intent);
	} else if (asked) {
		ask_person(call, intent, how->return_url);
		sand_answer(call, 200, json_incref(intent));
	} else if (charge_card(call, intent, card)) {
		sand_answer(call, 200, json_incref(intent));
	} else {
		answer_failure(call, intent);
	}
}

static bool amount_fits(struct sand_call *call, json_int_t amount, const char *currency)
{
	json_int_t minimum = sand_currency_minimum(currency);

	if (minimum < 0) {
		sand_fail(call, 400, "invalid_request_error", NULL, "currency",
			"Invalid currency: %.20s.", currency);
		return false;
	}
	if (amount < 1) {
		sand_fail(call, 400, "invalid_request_error", "parameter_invalid_integer", "amount",
			"This value must be greater than or equal to 1.");
		return false;
	}
	if (amount < minimum || amount > AMOUNT_MAX) {
		sand_fail(call, 400, "invalid_request_error",
			amount < minimum ? "amount_too_small" : "amount_too_large", "amount",
			"Amount must be from %lld to %d %s, in the smallest unit.",
			(long long)minimum, AMOUNT_MAX, currency);
		return false;
	}
	return true;
}

static json_t *make(struct sand_call *call, json_int_t amount, const char *currency,
	const char *capture, const struct sand_card *card)
{
	char id[SAND_ID_BYTES], secret[SAND_ID_BYTES], both[2 * SAND_ID_BYTES];
	json_t *intent;

	sand_id(id, "pi_");
	sand_id(secret, "_secret_");
	snprintf(both, sizeof(both), "%s%s", id, secret);
	intent = json_pack("{s:s, s:s, s:I, s:I, s:I, s:n, s:n, s:s, s:s, s:s, s:I, s:s, s:n, s:n,"
			   " s:n, s:n, s:b, s:{}, s:n, s:s?, s:[s], s:s}",
		"id", id, "object", "payment_intent", "amount", amount, "amount_capturable",
		(json_int_t)0, "amount_received", (json_int_t)0, "canceled_at",
		"cancellation_reason", "capture_method", capture, "client_secret", both,
		"confirmation_method", "automatic", "created", (json_int_t)sand_now(call->sand),
		"currency", currency, "customer", "description", "last_payment_error",
		"latest_charge", "livemode", 0, "metadata", "next_action", "payment_method",
		card != NULL ? card->name : NULL, "payment_method_types", "card", "status",
		card != NULL ? "requires_confirmation" : "requires_payment_method");
	USH_ASSERT(intent != NULL);
	return intent;
}

static bool refuse_card_data(struct sand_call *call)
{
	if (json_object_get(call->form, "payment_method_data") == NULL)
		return false;
	sand_fail(call, 400, "invalid_request_error", NULL, "payment_method_data",
		"Card data may not be sent here. Use a test payment method such as pm_card_visa.");
	return true;
}

static void create(struct sand_call *call)
{
	static const char *const known[] = {"amount", "automatic_payment_methods", "capture_method",
		"confirm", "confirmation_method", "currency", "description",
		"error_on_requires_action", "metadata", "off_session", "payment_method",
		"payment_method_types", "receipt_email", "return_url", "statement_descriptor",
		"statement_descriptor_suffix", NULL};
	static const char *const captures[] = {"automatic", "automatic_async", "manual", NULL};
	const char *currency_given, *capture = "automatic_async", *description, *email;
	const struct sand_card *card;
	struct confirmation how;
	json_int_t amount = 0;
	bool at_once = false;
	char currency[8];
	json_t *intent;

	if (refuse_card_data(call) || !sand_form_known(call, known) ||
		!sand_form_integer(call, "amount", true, &amount) ||
		!sand_form_text(call, "currency", true, &currency_given) ||
		!sand_form_choice(call, "capture_method", captures, &capture) ||
		!sand_form_text(call, "description", false, &description) ||
		!sand_form_text(call, "receipt_email", false, &email) ||
		!sand_form_bool(call, "confirm", &at_once) || !read_confirmation(call, &how) ||
		!method_given(call, &card))
		return;
	snprintf(currency, sizeof(currency), "%s", currency_given);
	for (uint32_t i = 0; currency[i] != '\0'; i++)
		currency[i] = (char)(currency[i] >= 'A' && currency[i] <= 'Z' ? currency[i] | 32
									      : currency[i]);
	if (!amount_fits(call, amount, currency))
		return;
	intent = make(call, amount, currency, capture, card);
	sand_set_text(intent, "description", description);
	sand_set_text(intent, "receipt_email", email);
	if (sand_form_metadata(call, intent)) {
		call->begun = true;
		sand_put(call->sand, intent, 0);
		sand_emit(call, "payment_intent.created", intent);
		if (at_once)
			confirm(call, intent, &how);
		else
			sand_answer(call, 200, json_incref(intent));
	}
	json_decref(intent);
}

static void confirm_call(struct sand_call *call, json_t *intent)
{
	static const char *const known[] = {"client_secret", "error_on_requires_action",
		"off_session", "payment_method", "return_url", NULL};
	const struct sand_card *card;
	struct confirmation how;

	if (refuse_card_data(call) || !sand_form_known(call, known) ||
		!read_confirmation(call, &how) || !method_given(call, &card))
		return;
	call->begun = true;
	if (!is_status(intent, "requires_payment_method") &&
		!is_status(intent, "requires_confirmation") &&
		!is_status(intent, "requires_action")) {
		unexpected(call, intent, "confirmed");
		return;
	}
	if (card != NULL)
		sand_set_text(intent, "payment_method", card->name);
	confirm(call, intent, &how);
}

static void capture_call(struct sand_call *call, json_t *intent)
{
	static const char *const known[] = {"amount_to_capture", "metadata", NULL};
	json_int_t amount = sand_number(intent, "amount_capturable");
	json_int_t whole = amount;
	json_t *charge;

	if (!sand_form_known(call, known) ||
		!sand_form_integer(call, "amount_to_capture", false, &amount) ||
		!sand_form_metadata(call, intent))
		return;
	call->begun = true;
	if (!is_status(intent, "requires_capture")) {
		unexpected(call, intent, "captured");
		return;
	}
	if (amount < 1 || amount > whole) {
		sand_fail(call, 400, "invalid_request_error",
			amount < 1 ? "parameter_invalid_integer" : "amount_too_large",
			"amount_to_capture",
			"The amount to capture must be from 1 to the capturable amount, %lld.",
			(long long)whole);
		return;
	}
	charge = sand_get(call->sand, "charge", sand_text(intent, "latest_charge"));
	sand_charge_capture(call, intent, charge, amount);
	if (amount < whole)
		sand_book(call->sand, "released", intent, sand_text(charge, "id"), whole - amount);
	sand_emit(call, "charge.captured", charge);
	sand_emit(call, "payment_intent.succeeded", intent);
	sand_answer(call, 200, json_incref(intent));
	json_decref(charge);
}

/* Ends an intent that nothing was captured for. */
static void end(struct sand_call *call, json_t *intent, const char *reason, const char *event)
{
	json_t *charge = NULL;

	if (is_status(intent, "requires_capture"))
		charge = sand_get(call->sand, "charge", sand_text(intent, "latest_charge"));
	sand_set_text(intent, "status", "canceled");
	sand_set_text(intent, "cancellation_reason", reason);
	sand_set_number(intent, "canceled_at", sand_now(call->sand));
	sand_set_number(intent, "amount_capturable", 0);
	sand_set_text(intent, "next_action", NULL);
	sand_put(call->sand, intent, 0);
	if (charge != NULL)
		sand_charge_release(call, intent, charge, event);
	sand_emit(call, "payment_intent.canceled", intent);
	json_decref(charge);
}

void sand_intent_expire(struct sand_call *call, json_t *intent)
{
	if (is_status(intent, "requires_capture"))
		end(call, intent, "automatic", "charge.expired");
}

static void cancel_call(struct sand_call *call, json_t *intent)
{
	static const char *const known[] = {"cancellation_reason", NULL};
	static const char *const reasons[] = {
		"duplicate", "fraudulent", "requested_by_customer", "abandoned", NULL};
	const char *reason = NULL;

	if (!sand_form_known(call, known) ||
		!sand_form_choice(call, "cancellation_reason", reasons, &reason))
		return;
	call->begun = true;
	if (is_status(intent, "succeeded") || is_status(intent, "canceled")) {
		unexpected(call, intent, "canceled");
		return;
	}
	end(call, intent, reason, "charge.refunded");
	sand_answer(call, 200, json_incref(intent));
}

static void update_call(struct sand_call *call, json_t *intent)
{
	static const char *const known[] = {
		"amount", "description", "metadata", "payment_method", NULL};
	json_int_t amount = sand_number(intent, "amount");
	const struct sand_card *card;
	const char *description;

	if (refuse_card_data(call) || !sand_form_known(call, known) ||
		!sand_form_integer(call, "amount", false, &amount) ||
		!sand_form_text(call, "description", false, &description) ||
		!method_given(call, &card) || !sand_form_metadata(call, intent) ||
		!amount_fits(call, amount, sand_text(intent, "currency")))
		return;
	call->begun = true;
	if ((amount != sand_number(intent, "amount") || card != NULL) &&
		!is_status(intent, "requires_payment_method") &&
		!is_status(intent, "requires_confirmation")) {
		unexpected(call, intent, "updated");
		return;
	}
	sand_set_number(intent, "amount", amount);
	if (description != NULL)
		sand_set_text(intent, "description", description);
	if (card != NULL) {
		sand_set_text(intent, "payment_method", card->name);
		sand_set_text(intent, "status", "requires_confirmation");
	}
	sand_put(call->sand, intent, SAND_DUE_AS_IT_WAS);
	sand_answer(call, 200, json_incref(intent));
}

/* The publishable key may look at an intent and confirm it, with its secret. */
static bool may(struct sand_call *call, const json_t *intent, const char *action)
{
	const char *secret = sand_text(call->form, "client_secret");

	if (!call->is_public)
		return true;
	if ((action == NULL ? strcmp(call->method, "GET") == 0 : strcmp(action, "confirm") == 0) &&
		strcmp(secret, sand_text(intent, "client_secret")) == 0)
		return true;
	sand_fail(call, 401, "invalid_request_error", "secret_key_required", NULL,
		"This needs the secret key, or the intent's client_secret.");
	return false;
}

void sand_intents(struct sand_call *call)
{
	static const struct {
		const char *action;
		void (*run)(struct sand_call *call, json_t *intent);
	} actions[] = {
		{"confirm", confirm_call}, {"capture", capture_call}, {"cancel", cancel_call}};
	const char *action = call->parts == 4 ? call->part[3] : NULL;
	bool post = strcmp(call->method, "POST") == 0;
	json_t *intent;

	if (call->parts == 2) {
		if (post)
			create(call);
		else
			sand_list(call, "payment_intent", NULL, NULL);
		return;
	}
	intent = sand_need(call, "payment_intent", call->part[2], NULL);
	if (intent == NULL)
		return;
	if (!may(call, intent, action)) {
		json_decref(intent);
		return;
	}
	if (action == NULL && post)
		update_call(call, intent);
	else if (action == NULL)
		sand_answer(call, 200, json_incref(intent));
	for (uint32_t i = 0; action != NULL && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (post && strcmp(actions[i].action, action) == 0)
			actions[i].run(call, intent);
	json_decref(intent);
}
