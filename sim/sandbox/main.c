/* SPDX-License-Identifier: Apache-2.0 */
/* usher-sandbox: options, start and end. See sandbox.h and docs/sandbox.md. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sandbox.h"

#define WEBHOOKS_MAX 16u
#define TICK_MS 50

static const char usage[] =
	"usage: usher-sandbox --db FILE [OPTION]...\n"
	"\n"
	"A payment provider for tests and demos that speaks Stripe's published API: PaymentIntents,\n"
	"refunds, disputes, events, signed webhooks, and failures by script. No money moves.\n"
	"\n"
	"  --db FILE             its books (SQLite); made when missing, kept over restarts\n"
	"  --listen ADDRESS:PORT where it serves HTTP; default 127.0.0.1:12111, port 0: any\n"
	"  --origin URL          where a browser reaches its pages; default from --listen\n"
	"  --key KEY             the secret key of the account; default sk_test_usher\n"
	"  --public-key KEY      the publishable key; default pk_test_usher\n"
	"  --webhook URL         deliver all events there (http only); repeatable\n"
	"  --webhook-secret TEXT signs deliveries; default whsec_usher\n"
	"  --retry-ms N          first pause before a delivery is repeated; default 1000, doubles\n"
	"  --attempts N          deliveries of one event; default 16\n"
	"  --refund-delay-s N    until a pending refund is settled; default 2\n"
	"  --faults FILE         failures by script (JSON), added at each start\n"
	"  --seed N              for the chances of faults and the shuffling of webhooks\n"
	"  --version, --help\n"
	"\n"
	"When it serves it says so in a line of its log: {\"event\":\"ready\",...,\"port\":N}.\n"
	"SIGTERM and SIGINT end it when what is under way is answered. Exit status: 0; 1 cannot\n"
	"start; 2 wrong options; 3 the database failed.\n";

struct options {
	const char *db;
	const char *faults;
	const char *origin;
	char address[64];
	uint16_t port;
	const char *webhooks[WEBHOOKS_MAX];
	uint32_t webhook_count;
};

static int wrong(const char *what)
{
	fprintf(stderr, "usher-sandbox: %s; see usher-sandbox --help\n", what);
	return 2;
}

static bool read_number(const char *text, long long low, long long high, long long *value)
{
	char *end;

	*value = strtoll(text, &end, 10);
	return text[0] != '\0' && *end == '\0' && *value >= low && *value <= high;
}

static bool read_listen(struct options *options, const char *text)
{
	const char *colon = strrchr(text, ':');
	long long port;

	if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(options->address) ||
		!read_number(colon + 1, 0, 65535, &port))
		return false;
	snprintf(options->address, sizeof(options->address), "%.*s", (int)(colon - text), text);
	options->port = (uint16_t)port;
	return true;
}

enum {
	OPTION_DB = 256,
	OPTION_LISTEN,
	OPTION_ORIGIN,
	OPTION_KEY,
	OPTION_PUBLIC_KEY,
	OPTION_WEBHOOK,
	OPTION_WEBHOOK_SECRET,
	OPTION_RETRY_MS,
	OPTION_ATTEMPTS,
	OPTION_REFUND_DELAY_S,
	OPTION_FAULTS,
	OPTION_SEED,
	OPTION_VERSION,
	OPTION_HELP,
};

static const struct option long_options[] = {{"db", 1, NULL, OPTION_DB},
	{"listen", 1, NULL, OPTION_LISTEN}, {"origin", 1, NULL, OPTION_ORIGIN},
	{"key", 1, NULL, OPTION_KEY}, {"public-key", 1, NULL, OPTION_PUBLIC_KEY},
	{"webhook", 1, NULL, OPTION_WEBHOOK}, {"webhook-secret", 1, NULL, OPTION_WEBHOOK_SECRET},
	{"retry-ms", 1, NULL, OPTION_RETRY_MS}, {"attempts", 1, NULL, OPTION_ATTEMPTS},
	{"refund-delay-s", 1, NULL, OPTION_REFUND_DELAY_S}, {"faults", 1, NULL, OPTION_FAULTS},
	{"seed", 1, NULL, OPTION_SEED}, {"version", 0, NULL, OPTION_VERSION},
	{"help", 0, NULL, OPTION_HELP}, {0}};

/* ret: what is wrong, or NULL. */
static const char *read_numeric(struct sand *sand, int option, const char *text)
{
	long long value;

	switch (option) {
	case OPTION_RETRY_MS:
		if (!read_number(text, 1, 3600000, &value))
			return "--retry-ms wants 1 to 3600000";
		sand->retry_ms = (uint32_t)value;
		return NULL;
	case OPTION_ATTEMPTS:
		if (!read_number(text, 1, 100, &value))
			return "--attempts wants 1 to 100";
		sand->attempts_max = (uint32_t)value;
		return NULL;
	case OPTION_REFUND_DELAY_S:
		if (!read_number(text, 0, 86400, &value))
			return "--refund-delay-s wants 0 to 86400";
		sand->refund_delay_s = (uint32_t)value;
		return NULL;
	default:
		if (!read_number(text, 0, INT64_MAX, &value))
			return "--seed wants a number";
		ush_random_init(&sand->chance, (uint64_t)value);
		return NULL;
	}
}

/* ret: what is wrong, or NULL. */
static const char *read_option(
	struct sand *sand, struct options *options, int option, const char *text)
{
	switch (option) {
	case OPTION_DB:
		options->db = text;
		return NULL;
	case OPTION_LISTEN:
		return read_listen(options, text) ? NULL : "--listen wants ADDRESS:PORT";
	case OPTION_ORIGIN:
		options->origin = text;
		return strlen(text) < sizeof(sand->origin) ? NULL : "--origin is too long";
	case OPTION_KEY:
		sand->secret_key = text;
		return text[0] != '\0' ? NULL : "--key wants a key";
	case OPTION_PUBLIC_KEY:
		sand->public_key = text;
		return text[0] != '\0' ? NULL : "--public-key wants a key";
	case OPTION_WEBHOOK:
		if (options->webhook_count == WEBHOOKS_MAX || strncmp(text, "http://", 7) != 0)
			return "--webhook wants an http:// address, at most 16 times";
		options->webhooks[options->webhook_count++] = text;
		return NULL;
	case OPTION_WEBHOOK_SECRET:
		sand->webhook_secret = text;
		return text[0] != '\0' ? NULL : "--webhook-secret wants a text";
	case OPTION_FAULTS:
		options->faults = text;
		return NULL;
	default:
		return read_numeric(sand, option, text);
	}
}

/* ret: -1 to go on, or the exit status. */
static int read_options(struct sand *sand, struct options *options, int argc, char **argv)
{
	const char *error;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == OPTION_HELP || option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (option == OPTION_VERSION) {
			puts("usher-sandbox " USH_VERSION_TEXT);
			return 0;
		}
		if (option == '?') {
			fprintf(stderr, "usher-sandbox: what is %s?\n", argv[optind - 1]);
			return 2;
		}
		error = read_option(sand, options, option, optarg);
		if (error != NULL)
			return wrong(error);
	}
	if (optind < argc) {
		fprintf(stderr, "usher-sandbox: what is %s?\n", argv[optind]);
		return 2;
	}
	return options->db == NULL ? wrong("--db is needed") : -1;
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	struct sand *sand = context;

	(void)what;
	sand_log("info", "stopping", json_pack("{s:i}", "signal", (int)number));
	sand_server_drain(sand);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	static int64_t last_s;
	struct sand *sand = context;
	int64_t now_s = sand_now(sand);

	(void)fd;
	(void)what;
	sand_deliver(sand);
	if (now_s != last_s)
		sand_tick(sand);
	last_s = now_s;
}

static bool load_faults(struct sand *sand, const char *path, struct ush_message *message)
{
	json_error_t error;
	json_t *faults = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	bool good = faults != NULL;

	if (good)
		good = sand_faults_add(sand, faults, message);
	else
		ush_message_set(message, "%s:%d: %s", path, error.line, error.text);
	json_decref(faults);
	return good;
}

static int start(struct sand *sand, struct options *options, struct ush_message *message)
{
	uint16_t port;
	int ret;

	umask(077);
	ret = sand_store_open(sand, options->db, message);
	if (ret != 0)
		return ret;
	sand_begin(sand);
	for (uint32_t i = 0; i < options->webhook_count; i++)
		sand_endpoint_ensure(sand, options->webhooks[i]);
	if (options->faults != NULL && !load_faults(sand, options->faults, message)) {
		sand_rollback(sand);
		return -USH_EPARSE;
	}
	sand_commit(sand);
	ret = sand_server_open(sand, options->address, options->port, &port, message);
	if (ret != 0)
		return ret;
	if (options->origin != NULL)
		snprintf(sand->origin, sizeof(sand->origin), "%s", options->origin);
	else
		snprintf(
			sand->origin, sizeof(sand->origin), "http://%s:%u", options->address, port);
	sand_log("info", "ready",
		json_pack("{s:s, s:i, s:s}", "address", options->address, "port", (int)port,
			"version", USH_VERSION_TEXT));
	return 0;
}

static void run(struct sand *sand)
{
	const struct timeval tick = {.tv_usec = TICK_MS * 1000};
	struct event *events[] = {evsignal_new(sand->base, SIGTERM, on_signal, sand),
		evsignal_new(sand->base, SIGINT, on_signal, sand),
		event_new(sand->base, -1, EV_PERSIST, on_tick, sand)};

	for (uint32_t i = 0; i < 3; i++) {
		USH_ASSERT(events[i] != NULL);
		event_add(events[i], i == 2 ? &tick : NULL);
	}
	event_base_dispatch(sand->base);
	for (uint32_t i = 0; i < 3; i++)
		event_free(events[i]);
}

int main(int argc, char **argv)
{
	struct sand sand = {.secret_key = "sk_test_usher",
		.public_key = "pk_test_usher",
		.webhook_secret = "whsec_usher",
		.retry_ms = 1000,
		.attempts_max = 16,
		.refund_delay_s = 2};
	struct options options = {.address = "127.0.0.1", .port = 12111};
	struct ush_message message = {""};
	int ret;

	ush_random_init(&sand.chance, 1);
	ret = read_options(&sand, &options, argc, argv);
	if (ret >= 0)
		return ret;
	signal(SIGPIPE, SIG_IGN);
	sand.base = event_base_new();
	USH_ASSERT(sand.base != NULL);
	ret = start(&sand, &options, &message);
	if (ret != 0) {
		fprintf(stderr, "usher-sandbox: %s\n", message.text);
	} else {
		run(&sand);
		sand_log("info", "stopped", NULL);
	}
	if (sand.http != NULL)
		evhttp_free(sand.http);
	sand_store_close(&sand);
	event_base_free(sand.base);
	return ret == 0 ? 0 : 1;
}
