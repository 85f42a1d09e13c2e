/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-control: start and end.
 *
 *   1. options, configuration, state directory;
 *   2. modules, the listener; "ready";
 *   3. the loop;
 *   4. SIGTERM: no more connections, what is under way is answered (drain_ms at most), modules
 * close.
 *
 * Whatever cannot be had at the start ends it with status 1 and a sentence. Later, usherd may come
 * and go: /readyz says so.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "daemon/core.h"
#include "daemon/log.h"
#include "daemon/modules.h"
#include "daemon/openapi.h"
#include "daemon/secure.h"
#include "daemon/settings.h"
#include "http/counters.h"
#include "http/server.h"

static const char usage[] =
	"usage: usher-control [--config FILE] [--set SECTION.KEY=VALUE]... [--print-config]\n"
	"       usher-control [--config FILE] [--set SECTION.KEY=VALUE]... orders rebuild|check\n"
	"       usher-control [--config FILE] [--set SECTION.KEY=VALUE]... account ROLE MAIL\n"
	"\n"
	"Sells tickets over HTTP and takes the money; a client of usherd's control port.\n"
	"\n"
	"  --config FILE            INI; see --print-config for all settings\n"
	"  --set SECTION.KEY=VALUE  above the file; repeatable\n"
	"  --print-config           print the settings in effect, and end\n"
	"  --print-routes           start, print the routes, and end: for tests\n"
	"  --version, --help\n"
	"  orders rebuild           make the tables of orders again from usherd's journal\n"
	"  orders check             compare them with the journal; status 1 if they differ\n"
	"  account ROLE MAIL        make MAIL's account that of a buyer, promoter or operator\n"
	"\n"
	"The log is a line of JSON for each event, on stderr; the line `ready` has the port.\n"
	"SIGTERM and SIGINT end it when what is under way is answered. Exit status: 0; 1 cannot\n"
	"start; 2 wrong options.\n";

static bool print_routes;

struct daemon {
	struct ush_core core;
	struct event *drained;
	uint64_t drain_ms;
	uint64_t waited_ms;
};

#define DRAIN_LOOK_MS 20u

static int wrong(const char *text)
{
	fprintf(stderr, "usher-control: %s; see usher-control --help\n", text);
	return 2;
}

/* out: tool: the words of a tool, or untouched. ret: -1 to go on, or the exit status. */
static int read_options(int argc, char **argv, char ***tool)
{
	static const struct option options[] = {{"config", 1, NULL, 'c'}, {"set", 1, NULL, 's'},
		{"print-config", 0, NULL, 'p'}, {"print-routes", 0, NULL, 'r'},
		{"version", 0, NULL, 'v'}, {"help", 0, NULL, 'h'}, {0}};
	struct ush_message message;
	bool print = false;
	int option;

	opterr = 0;
	/* The file first: what --set says is above it, wherever it stands. */
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (option == 'c' && ush_settings_read(optarg, &message) != 0)
			return wrong(message.text);
	optind = 1;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (option == 'v') {
			puts("usher-control " USH_VERSION_TEXT);
			return 0;
		}
		if (option == '?')
			return wrong("an option that there is not, or that wants a value");
		if (option == 's' && ush_settings_set(optarg, &message) != 0)
			return wrong(message.text);
		print = print || option == 'p';
		print_routes = print_routes || option == 'r';
	}
	if (optind + 2 == argc && strcmp(argv[optind], "orders") == 0 &&
		(strcmp(argv[optind + 1], "rebuild") == 0 ||
			strcmp(argv[optind + 1], "check") == 0))
		*tool = argv + optind;
	else if (optind + 3 == argc && strcmp(argv[optind], "account") == 0)
		*tool = argv + optind;
	else if (optind < argc)
		return wrong("an argument that means nothing");
	if (print)
		ush_settings_print();
	return print ? 0 : -1;
}

/* ---- what the daemon itself serves ---- */

static void answer_healthz(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_http_answer_json(request, 200, json_pack("{s:s}", "status", "alive"));
}

static void answer_readyz(struct ush_http_request *request, void *context)
{
	const struct daemon *daemon = context;
	const char *missing = ush_modules_missing(&daemon->core);

	if (missing == NULL)
		ush_http_answer_json(request, 200, json_pack("{s:s}", "status", "ready"));
	else
		ush_http_problem(request, 503, "not_ready", NULL, "%s", missing);
}

static void answer_openapi(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_http_set(request, "Cache-Control", "public, max-age=300");
	ush_http_answer(request, 200, "application/json", ush_openapi, ush_openapi_bytes);
}

static const struct ush_http_route routes[] = {{"GET", "/healthz", answer_healthz, 0, 0},
	{"GET", "/readyz", answer_readyz, 0, 0}, {"GET", "/openapi.json", answer_openapi, 0, 0},
	{0}};

/* ---- start ---- */

static int read_http(
	const struct ush_core *core, struct ush_http_config *config, struct ush_message *message)
{
	const struct {
		const char *key;
		uint32_t *value;
		uint64_t low, high;
	} numbers[] = {{"connections", &config->connections_max, 1, 1000000},
		{"requests", &config->requests_max, 1, 1000000},
		{"head_bytes", &config->head_bytes_max, 256, 1 << 20},
		{"body_bytes", &config->body_bytes_max, 1, 1u << 30},
		{"head_ms", &config->head_ms, 1, 3600000},
		{"body_ms", &config->body_ms, 1, 3600000},
		{"idle_ms", &config->idle_ms, 1, 3600000},
		{"send_ms", &config->send_ms, 1, 3600000},
		{"queued_bytes", &config->queued_bytes_max, 1024, 1u << 30}};
	uint64_t value;
	int ret;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		ret = ush_setting_number(
			"http", numbers[i].key, numbers[i].low, numbers[i].high, &value, message);
		if (ret != 0)
			return ret;
		*numbers[i].value = (uint32_t)value;
	}
	ret = ush_setting_number("http", "port", 0, 65535, &value, message);
	config->port = (uint16_t)value;
	config->address = ush_setting(core, "http", "address");
	config->certificate = ush_setting(core, "http", "certificate");
	config->key = ush_setting(core, "http", "key");
	config->proxies = ush_setting(core, "http", "proxies");
	config->origin = core->origin;
	return ret;
}

static int read_log(struct ush_message *message)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	const char *text = ush_setting(NULL, "log", "level");

	for (int i = 0; i < 4; i++)
		if (strcmp(names[i], text) == 0) {
			ush_core_log_level((enum ush_core_level)i);
			return 0;
		}
	ush_message_set(message, "log.level is debug, info, warn or error, not '%s'", text);
	return -USH_EINVAL;
}

static int read_core(struct daemon *daemon, struct ush_message *message)
{
	struct ush_core *core = &daemon->core;
	const char *shift = ush_setting(core, "control", "clock_shift_s");
	static char origin[128];
	char *end;
	int ret = read_log(message);

	if (ret != 0)
		return ret;
	ush_core_clock_shift(strtoll(shift, &end, 10) * 1000000);
	if (*end != '\0') {
		ush_message_set(message, "control.clock_shift_s wants a number");
		return -USH_EINVAL;
	}
	core->setting = ush_setting;
	core->secret = ush_secret;
	core->state_dir = ush_setting(core, "control", "state_dir");
	core->journal_dir = ush_setting(core, "usherd", "journal_dir");
	core->read_only = strcmp(ush_setting(core, "control", "read_only"), "yes") == 0;
	core->origin = ush_setting(core, "http", "origin");
	if (core->origin == NULL) {
		snprintf(origin, sizeof(origin), "%s://%s:%s",
			ush_setting(core, "http", "certificate") != NULL ? "https" : "http",
			ush_setting(core, "http", "address"), ush_setting(core, "http", "port"));
		core->origin = origin;
	}
	if (mkdir(core->state_dir, 0700) != 0 && errno != EEXIST) {
		ush_message_set(message, "%s: cannot make the state directory: %s", core->state_dir,
			strerror(errno));
		return -USH_ESYSTEM;
	}
	return ush_setting_number("control", "drain_ms", 0, 3600000, &daemon->drain_ms, message);
}

static int start(struct daemon *daemon, struct ush_message *message)
{
	struct ush_http_config config;
	char port[8];
	int ret = read_core(daemon, message);

	ush_http_config_init(&config);
	if (ret == 0)
		ret = read_http(&daemon->core, &config, message);
	ush_secure_descriptors(&config.connections_max);
	if (ret == 0)
		ret = ush_http_server_open(&daemon->core.http, &config, daemon->core.base, message);
	if (ret != 0)
		return ret;
	ush_http_routes_add(daemon->core.http, routes, daemon);
	/* The port and the key are ours; threads begin in modules. */
	ret = ush_secure_privileges(message);
	if (ret == 0)
		ret = ush_modules_open(&daemon->core, message);
	if (ret == 0 && strcmp(ush_setting(NULL, "control", "seccomp"), "no") != 0) {
		ret = ush_secure_calls(message);
		if (ret != 0)
			ush_modules_close(&daemon->core);
	}
	if (ret != 0) {
		ush_http_server_close(daemon->core.http);
		return ret;
	}
	snprintf(port, sizeof(port), "%u", ush_http_server_port(daemon->core.http));
	ush_core_log(
		USH_CORE_INFO, "daemon", "ready", "port", port, "version", USH_VERSION_TEXT, NULL);
	return 0;
}

/* ---- end ---- */

static void on_drained(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)what;
	daemon->waited_ms += DRAIN_LOOK_MS;
	if (ush_http_server_busy(daemon->core.http) == 0 || daemon->waited_ms >= daemon->drain_ms)
		event_base_loopbreak(daemon->core.base);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	const struct timeval time = {.tv_usec = DRAIN_LOOK_MS * 1000};
	struct daemon *daemon = context;

	(void)what;
	ush_core_log(USH_CORE_INFO, "daemon", "stopping", "signal",
		number == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
	ush_http_server_drain(daemon->core.http);
	event_add(daemon->drained, &time);
}

static void run(struct daemon *daemon)
{
	struct event_base *base = daemon->core.base;
	struct event *signals[] = {evsignal_new(base, SIGTERM, on_signal, daemon),
		evsignal_new(base, SIGINT, on_signal, daemon)};

	daemon->drained = event_new(base, -1, EV_PERSIST, on_drained, daemon);
	USH_ASSERT(daemon->drained != NULL);
	for (uint32_t i = 0; i < 2; i++) {
		USH_ASSERT(signals[i] != NULL);
		event_add(signals[i], NULL);
	}
	event_base_dispatch(base);
	for (uint32_t i = 0; i < 2; i++)
		event_free(signals[i]);
	event_free(daemon->drained);
	ush_http_server_drain(daemon->core.http);
}

static void print_route(void *context, const struct ush_http_route *route)
{
	(void)context;
	printf("%s %s %s\n", route->method, route->path,
		strcmp(route->method, "POST") != 0 || (route->flags & USH_HTTP_NO_KEY) ? "-"
										       : "key");
}

int main(int argc, char **argv)
{
	struct ush_message message = {""};
	struct daemon daemon = {0};
	char **tool = NULL;
	int ret = read_options(argc, argv, &tool);

	if (ret >= 0)
		return ret;
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	USH_ASSERT(evthread_use_pthreads() == 0);
	daemon.core.base = event_base_new();
	USH_ASSERT(daemon.core.base != NULL);
	if (tool != NULL) {
		ret = read_core(&daemon, &message);
		if (ret != 0)
			ret = 1;
		else if (strcmp(tool[0], "orders") == 0)
			ret = ush_modules_orders(&daemon.core, tool[1], &message);
		else
			ret = ush_modules_account(&daemon.core, tool[1], tool[2], &message);
		if (message.text[0] != '\0')
			fprintf(stderr, "usher-control: %s\n", message.text);
		event_base_free(daemon.core.base);
		return ret;
	}
	ret = start(&daemon, &message);
	if (ret != 0) {
		fprintf(stderr, "usher-control: %s\n", message.text);
		event_base_free(daemon.core.base);
		return 1;
	}
	if (print_routes)
		ush_http_routes_each(daemon.core.http, print_route, NULL);
	else
		run(&daemon);
	/* Streams tell their modules that they are gone while those are still there. */
	ush_http_server_end(daemon.core.http);
	ush_modules_close(&daemon.core);
	ush_http_server_close(daemon.core.http);
	event_base_free(daemon.core.base);
	ush_core_log(USH_CORE_INFO, "daemon", "stopped", NULL);
	return 0;
}
