/* SPDX-License-Identifier: Apache-2.0 */
/* Stripe's published test payment methods, and the currencies that are taken. */
#include <string.h>

#include "sandbox.h"

#define DECLINED(n, l, d) \
	{ \
		.name = (n), .brand = "visa", .last4 = (l), .code = "card_declined", \
		.decline = (d) \
	}
#define REFUSED(n, l, c) \
	{ \
		.name = (n), .brand = "visa", .last4 = (l), .code = (c), .decline = (c) \
	}

static const struct sand_card cards[] = {
	{.name = "pm_card_visa", .brand = "visa", .last4 = "4242"},
	{.name = "pm_card_us", .brand = "visa", .last4 = "4242"},
	{.name = "pm_card_visa_debit", .brand = "visa", .last4 = "5556"},
	{.name = "pm_card_mastercard", .brand = "mastercard", .last4 = "4444"},
	{.name = "pm_card_mastercard_debit", .brand = "mastercard", .last4 = "8210"},
	{.name = "pm_card_mastercard_prepaid", .brand = "mastercard", .last4 = "5100"},
	{.name = "pm_card_amex", .brand = "amex", .last4 = "8431"},
	{.name = "pm_card_discover", .brand = "discover", .last4 = "9424"},
	{.name = "pm_card_diners", .brand = "diners", .last4 = "0004"},
	{.name = "pm_card_jcb", .brand = "jcb", .last4 = "0505"},
	{.name = "pm_card_unionpay", .brand = "unionpay", .last4 = "0005"},
	DECLINED("pm_card_chargeDeclined", "0002", "generic_decline"),
	DECLINED("pm_card_visa_chargeDeclined", "0002", "generic_decline"),
	DECLINED("pm_card_chargeCustomerFail", "0341", "generic_decline"),
	DECLINED("pm_card_chargeDeclinedInsufficientFunds", "9995", "insufficient_funds"),
	DECLINED("pm_card_visa_chargeDeclinedInsufficientFunds", "9995", "insufficient_funds"),
	DECLINED("pm_card_chargeDeclinedLostCard", "9987", "lost_card"),
	DECLINED("pm_card_visa_chargeDeclinedLostCard", "9987", "lost_card"),
	DECLINED("pm_card_chargeDeclinedStolenCard", "9979", "stolen_card"),
	DECLINED("pm_card_visa_chargeDeclinedStolenCard", "9979", "stolen_card"),
	DECLINED("pm_card_chargeDeclinedFraudulent", "0019", "fraudulent"),
	DECLINED("pm_card_radarBlock", "0019", "fraudulent"),
	DECLINED("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "6975",
		"card_velocity_exceeded"),
	REFUSED("pm_card_chargeDeclinedExpiredCard", "0069", "expired_card"),
	REFUSED("pm_card_chargeDeclinedIncorrectCvc", "0127", "incorrect_cvc"),
	REFUSED("pm_card_chargeDeclinedProcessingError", "0119", "processing_error"),
	{.name = "pm_card_threeDSecure2Required",
		.brand = "visa",
		.last4 = "3220",
		.authenticate = true},
	{.name = "pm_card_threeDSecureRequired",
		.brand = "visa",
		.last4 = "3063",
		.authenticate = true},
	{.name = "pm_card_authenticationRequired",
		.brand = "visa",
		.last4 = "3184",
		.authenticate = true},
	{.name = "pm_card_threeDSecureOptional", .brand = "visa", .last4 = "3055"},
	{.name = "pm_card_threeDSecureRequiredChargeDeclined",
		.brand = "visa",
		.last4 = "3097",
		.authenticate = true,
		.code = "card_declined",
		.decline = "generic_decline"},
	{.name = "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
		.brand = "visa",
		.last4 = "3178",
		.authenticate = true,
		.code = "card_declined",
		.decline = "insufficient_funds"},
	{.name = "pm_card_createDispute",
		.brand = "visa",
		.last4 = "0259",
		.dispute = "fraudulent"},
	{.name = "pm_card_createDisputeProductNotReceived",
		.brand = "visa",
		.last4 = "2685",
		.dispute = "product_not_received"},
	{.name = "pm_card_pendingRefund", .brand = "visa", .last4 = "7726", .refund_pending = true},
	{.name = "pm_card_refundFail", .brand = "visa", .last4 = "5126", .refund_fails = true},
};

const struct sand_card *sand_card_find(const char *name)
{
	for (uint32_t i = 0; i < sizeof(cards) / sizeof(cards[0]); i++)
		if (strcmp(cards[i].name, name) == 0)
			return &cards[i];
	return NULL;
}

json_t *sand_card_method(const struct sand_card *card, int64_t created)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:b, s:n, s:{}, s:{s:n, s:n, s:n, s:n},"
			 " s:{s:s, s:s, s:i, s:i, s:s, s:s}}",
		"id", card->name, "object", "payment_method", "type", "card", "created",
		(json_int_t)created, "livemode", 0, "customer", "metadata", "billing_details",
		"address", "email", "name", "phone", "card", "brand", card->brand, "last4",
		card->last4, "exp_month", 12, "exp_year", 2034, "funding", "credit", "country",
		"US");
}

const char *sand_card_reason(const struct sand_card *card)
{
	if (strcmp(card->code, "expired_card") == 0)
		return "Your card has expired.";
	if (strcmp(card->code, "incorrect_cvc") == 0)
		return "Your card's security code is incorrect.";
	if (strcmp(card->code, "processing_error") == 0)
		return "An error occurred while processing your card. Try again in a little bit.";
	if (strcmp(card->decline, "insufficient_funds") == 0)
		return "Your card has insufficient funds.";
	return "Your card was declined.";
}

json_int_t sand_currency_minimum(const char *currency)
{
	/* Stripe's published minimum charge amounts, in minor units. */
	static const struct {
		const char *code;
		json_int_t minimum;
	} currencies[] = {{"usd", 50}, {"aed", 200}, {"aud", 50}, {"bgn", 100}, {"brl", 50},
		{"cad", 50}, {"chf", 50}, {"czk", 1500}, {"dkk", 250}, {"eur", 50}, {"gbp", 30},
		{"hkd", 400}, {"huf", 17500}, {"inr", 50}, {"jpy", 50}, {"mxn", 1000}, {"myr", 200},
		{"nok", 300}, {"nzd", 50}, {"pln", 200}, {"ron", 200}, {"sek", 300}, {"sgd", 50},
		{"thb", 1000}};

	for (uint32_t i = 0; i < sizeof(currencies) / sizeof(currencies[0]); i++)
		if (strcmp(currencies[i].code, currency) == 0)
			return currencies[i].minimum;
	return -1;
}
