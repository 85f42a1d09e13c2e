/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a provider's answers and webhooks mean, and which digits are a card number. Webhooks are
 * fuzzed: USH_SEED, USH_STEPS.
 */
#include <string.h>

#include <openssl/hmac.h>

#include "payments/pan.h"
#include "payments/provider.h"
#include "payments/task.h"
#include "payments/webhook.h"
#include "tests/tap.h"

static struct ush_provider_answer read_answer(bool get, uint32_t status, const char *body)
{
	struct ush_provider_answer answer;

	ush_provider_read(&answer, get, status, body, strlen(body), "r1");
	return answer;
}

/* Goal: each way in which a call can end asks for the right thing next. */
static void test_payments_answers_are_understood(void)
{
	static const struct {
		bool get;
		uint32_t status;
		const char *body;
		enum ush_provider_verdict verdict;
		enum ush_intent_state state;
	} cases[] = {
#define INTENT(status) \
	"{\"object\":\"payment_intent\",\"id\":\"pi_1\",\"amount\":7,\"status\":\"" status "\""
		{false, 200, INTENT("requires_payment_method") "}", USH_PROVIDER_OK,
			USH_INTENT_OPEN},
		{true, 200, INTENT("requires_payment_method") ",\"last_payment_error\":{}}",
			USH_PROVIDER_OK, USH_INTENT_DECLINED},
		{true, 200, INTENT("requires_action") "}", USH_PROVIDER_OK, USH_INTENT_OPEN},
		{true, 200, INTENT("processing") "}", USH_PROVIDER_OK, USH_INTENT_OPEN},
		{true, 200, INTENT("requires_capture") "}", USH_PROVIDER_OK, USH_INTENT_AUTHORISED},
		{false, 200, INTENT("succeeded") "}", USH_PROVIDER_OK, USH_INTENT_SUCCEEDED},
		{false, 200, INTENT("canceled") "}", USH_PROVIDER_OK, USH_INTENT_CANCELED},
		{false, 200, "", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 200, "[]", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 200, "{\"object\":\"charge\"}", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 302, "", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 400, "{\"error\":{\"type\":\"invalid_request_error\"}}",
			USH_PROVIDER_REFUSED, USH_INTENT_NONE},
		{false, 400, "{\"error\":{\"type\":\"idempotency_error\"}}", USH_PROVIDER_REPLAYED,
			USH_INTENT_NONE},
		{false, 402, "{\"error\":{\"type\":\"card_error\"}}", USH_PROVIDER_REFUSED,
			USH_INTENT_NONE},
		{false, 404, "<html>", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 401, "{\"error\":{\"type\":\"invalid_request_error\"}}",
			USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 409, "{\"error\":{\"type\":\"idempotency_error\"}}", USH_PROVIDER_UNKNOWN,
			USH_INTENT_NONE},
		{false, 429, "{\"error\":{\"type\":\"invalid_request_error\"}}",
			USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
		{false, 500, "", USH_PROVIDER_REPLAYED, USH_INTENT_NONE},
		{true, 500, "", USH_PROVIDER_UNKNOWN, USH_INTENT_NONE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ush_provider_answer got =
			read_answer(cases[i].get, cases[i].status, cases[i].body);

		CHECK_EQ(got.verdict, cases[i].verdict);
		CHECK_EQ(got.state, cases[i].state);
		if (tap_failures_here > 0)
			printf("# case %zu\n", i);
	}
	/* What goes into a path is an id. */
	CHECK(read_answer(true, 200,
		      "{\"object\":\"payment_intent\",\"id\":\"../x\",\"status\":\"succeeded\"}")
			.verdict == USH_PROVIDER_UNKNOWN);
}

/* Goal: the refund that is looked for is found among others, and a failed one is none. */
static void test_payments_refunds_found_by_reference(void)
{
#define REFUND(id, status, reference) \
	"{\"object\":\"refund\",\"id\":\"" id "\",\"status\":\"" status \
	"\",\"metadata\":{\"usher_refund\":\"" reference "\"}}"
	struct ush_provider_answer got = read_answer(true, 200,
		"{\"object\":\"list\",\"has_more\":false,\"data\":[" REFUND(
			"re_1", "succeeded", "r2") "," REFUND("re_2", "pending", "r1") "]}");

	CHECK(got.verdict == USH_PROVIDER_OK && strcmp(got.refund, "re_2") == 0);
	got = read_answer(true, 200,
		"{\"object\":\"list\",\"has_more\":false,\"data\":[" REFUND(
			"re_2", "failed", "r1") "]}");
	CHECK(got.verdict == USH_PROVIDER_OK && got.refund[0] == '\0');
	got = read_answer(true, 200, "{\"object\":\"list\",\"has_more\":true,\"data\":[]}");
	CHECK_EQ(got.verdict, USH_PROVIDER_UNKNOWN);
	got = read_answer(false, 200, REFUND("re_3", "failed", "r1"));
	CHECK_EQ(got.verdict, USH_PROVIDER_REPLAYED);
}

static void sign(char *header, size_t bytes, int64_t at, const char *body, size_t body_bytes,
	const char *secret)
{
	char text[4096];
	uint8_t mac[32];
	unsigned int mac_bytes;
	int head = snprintf(text, sizeof(text), "%" PRId64 ".", at);
	size_t used;

	memcpy(text + head, body, body_bytes);
	HMAC(EVP_sha256(), secret, (int)strlen(secret), (uint8_t *)text, (size_t)head + body_bytes,
		mac, &mac_bytes);
	used = (size_t)snprintf(header, bytes, "t=%" PRId64 ",v1=", at);
	for (uint32_t i = 0; i < 32; i++)
		used += (size_t)snprintf(header + used, bytes - used, "%02x", mac[i]);
}

#define NOW 1800000000
#define BODY \
	"{\"id\":\"evt_1\",\"type\":\"payment_intent.succeeded\",\"created\":5," \
	"\"data\":{\"object\":{\"id\":\"pi_1\"}}}"

/* Goal: a signature is good for its body, secret and time, and for nothing else. */
static void test_payments_webhook_signatures(void)
{
	char header[512], two[600];
	size_t bytes = strlen(BODY);

	sign(header, sizeof(header), NOW, BODY, bytes, "whsec_1");
	CHECK(ush_webhook_verify(header, BODY, bytes, "whsec_1", NOW));
	CHECK(ush_webhook_verify(header, BODY, bytes, "whsec_1", NOW + 300));
	CHECK(!ush_webhook_verify(header, BODY, bytes, "whsec_1", NOW + 301));
	CHECK(!ush_webhook_verify(header, BODY, bytes, "whsec_1", NOW - 301));
	CHECK(!ush_webhook_verify(header, BODY, bytes - 1, "whsec_1", NOW));
	CHECK(!ush_webhook_verify(header, BODY, bytes, "whsec_2", NOW));
	CHECK(!ush_webhook_verify(header, BODY, bytes, "", NOW));
	CHECK(!ush_webhook_verify(NULL, BODY, bytes, "whsec_1", NOW));
	/* While a secret is replaced there are two signatures. */
	snprintf(two, sizeof(two), "t=%d,v1=%064d,v0=00,v1=%s", NOW, 0, strstr(header, "v1=") + 3);
	CHECK(ush_webhook_verify(two, BODY, bytes, "whsec_1", NOW));
	header[strlen(header) - 1] ^= 1;
	CHECK(!ush_webhook_verify(header, BODY, bytes, "whsec_1", NOW));
}

/* Goal: every bit of body and header counts; nothing that is cut or changed passes or crashes. */
static void test_payments_webhooks_fuzzed(void)
{
	struct ush_random random;
	uint32_t steps =
		getenv("USH_STEPS") ? (uint32_t)strtoul(getenv("USH_STEPS"), NULL, 0) : 20000;
	char good[512], header[512], body[sizeof(BODY)];
	struct ush_webhook webhook;

	ush_random_init(&random, tap_seed(1));
	sign(good, sizeof(good), NOW, BODY, strlen(BODY), "whsec_1");
	for (uint32_t i = 0; i < steps; i++) {
		size_t bytes = strlen(BODY);
		uint64_t where = ush_random_below(&random, 3);

		memcpy(header, good, sizeof(header));
		memcpy(body, BODY, sizeof(body));
		if (where != 0) {
			body[ush_random_below(&random, bytes)] ^=
				(char)(1 + ush_random_below(&random, 255));
			if (where == 2)
				bytes = (size_t)ush_random_below(&random, bytes);
		} else {
			char *at = header + ush_random_below(&random, strlen(good));

			/* The name of another scheme says nothing, nor do the digits' cases. */
			*at ^= (char)(1 + ush_random_below(&random, 255));
		}
		CHECK(!ush_webhook_verify(header, body, bytes, "whsec_1", NOW));
		ush_webhook_read(&webhook, body, bytes);
	}
}

static void test_payments_webhooks_read(void)
{
	static const char dispute[] =
		"{\"id\":\"evt_2\",\"type\":\"charge.dispute.created\",\"data\":{\"object\":{"
		"\"id\":\"dp_1\",\"payment_intent\":\"pi_2\",\"amount\":5,\"status\":\"needs_response\","
		"\"reason\":\"fraudulent\"}}}";
	struct ush_webhook got;

	CHECK_EQ(ush_webhook_read(&got, BODY, strlen(BODY)), 0);
	CHECK(strcmp(got.intent, "pi_1") == 0 && got.dispute[0] == '\0');
	CHECK_EQ(ush_webhook_read(&got, dispute, strlen(dispute)), 0);
	CHECK(strcmp(got.intent, "pi_2") == 0 && strcmp(got.dispute, "dp_1") == 0);
	CHECK(strcmp(got.status, "needs_response") == 0 && got.amount == 5);
	CHECK_EQ(ush_webhook_read(&got, "{\"id\":\"e\",\"type\":\"new.kind\"}", 28), 0);
	CHECK(ush_webhook_read(&got, "{}", 2) == -USH_EPARSE);
	CHECK(ush_webhook_read(&got, "", 0) == -USH_EPARSE);
}

static void test_payments_card_numbers(void)
{
	static const struct {
		const char *text;
		bool found;
	} cases[] = {{"4242424242424242", true}, {"{\"a\":\"4242 4242 4242 4242\"}", true},
		{"n=4242-4242-4242-4242&x", true}, {"4242%204242%204242%204242", true},
		{"4242+4242+4242+4242", true}, {"5555555555554444", true},
		{"378282246310005", true}, {"6011111111111117", true}, {"30569309025904", true},
		{"3566002020360505", true}, {"2223003122003222", true}, {"6200000000000005", true},
		{"[4242424242424242]", true}, {"4242424242424241", false},
		{"14242424242424242", false}, {"1800000000000000000", false},
		{"a4242424242424242", false}, {"4242424242424242a", false},
		{"42424242  42424242", false}, {"0000000000000000", false},
		{"9999999999999995", false}, {"", false},
		{"4242424242424242424242424242424242", false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(ush_pan_found(cases[i].text, strlen(cases[i].text), USH_PAN_DIGITS),
			cases[i].found);
		if (tap_failures_here > 0)
			printf("# %s\n", cases[i].text);
	}
	/* A hold's number can look like this. */
	CHECK(ush_pan_found("4117231241403564031", 19, USH_PAN_DIGITS));
	CHECK(!ush_pan_found("4117231241403564031", 19, USH_PAN_DIGITS_USUAL));
	for (uint32_t i = 0; i < 100000; i++) {
		char text[24];

		snprintf(text, sizeof(text), "%lld", (long long)rows_new_id());
		CHECK(!ush_pan_found(text, strlen(text), USH_PAN_DIGITS));
	}
}

int main(void)
{
	TAP_RUN(test_payments_answers_are_understood);
	TAP_RUN(test_payments_refunds_found_by_reference);
	TAP_RUN(test_payments_webhook_signatures);
	TAP_RUN(test_payments_webhooks_fuzzed);
	TAP_RUN(test_payments_webhooks_read);
	TAP_RUN(test_payments_card_numbers);
	return tap_end();
}
