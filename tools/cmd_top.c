/* SPDX-License-Identifier: Apache-2.0 */
/* `usher top`: what a running usherd does, each second, from two readings of its counters. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client_stats.h"
#include "usher.h"

/* Home, and clear what is right of each line and below the last: no flicker. */
#define SCREEN_HOME "\033[H"
#define LINE_END "\033[K\n"
#define SCREEN_REST "\033[J"
#define SCREEN_ENTER "\033[?1049h\033[?25l"
#define SCREEN_LEAVE "\033[?25h\033[?1049l"

static _Atomic int stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

struct top {
	const char *socket;
	double seconds;
	bool once;
	bool json;
	/* Refreshing a terminal in place. */
	bool screen;
	uint32_t lines_left;
	struct client_stats before;
	struct client_stats now;
};

static double span_s(const struct top *top)
{
	return (double)(top->now.time_ns - top->before.time_ns) / 1e9;
}

/* Growth of a counter a second. One that fell (a restart) counts from zero. */
static double rate(const struct top *top, const char *name)
{
	uint64_t now = client_stats_value(&top->now, name);
	uint64_t before = client_stats_value(&top->before, name);
	double span = span_s(top);

	return span > 0 ? (double)(now >= before ? now - before : now) / span : 0;
}

static uint64_t value(const struct top *top, const char *name)
{
	return client_stats_value(&top->now, name);
}

/* ---- screen -------------------------------------------------------------------------------- */

static void USH_PRINTF(2, 3) line(struct top *top, const char *format, ...)
{
	va_list arguments;

	if (top->screen && top->lines_left == 0)
		return;
	top->lines_left -= top->screen;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("%s", top->screen ? LINE_END : "\n");
}

/* One line for each counter that starts with `prefix` and moved or ever counted. */
static void print_group(struct top *top, const char *title, const char *prefix)
{
	size_t size = strlen(prefix);

	line(top, "%s", "");
	line(top, "%-28s %14s %18s", title, "a second", "in all");
	for (uint32_t i = 0; i < top->now.count; i++) {
		const struct client_stat *stat = &top->now.stat[i];

		if (strncmp(stat->name, prefix, size) != 0 || stat->value == 0)
			continue;
		line(top, "  %-26s %14.0f %18llu", stat->name + size, rate(top, stat->name),
			(unsigned long long)stat->value);
	}
}

static const char *event_status_name(uint64_t status)
{
	switch (status) {
#define X(name, value) \
	case value: \
		return #name;
		USH_EVENT_STATUS_EACH(X)
#undef X
	default:
		return "?";
	}
}

/* The number in "usher_event_17_status". ret: 0 for any other name. */
static unsigned int event_of(const char *name)
{
	unsigned int event = 0;
	int end = 0;

	if (sscanf(name, "usher_event_%u_status%n", &event, &end) != 1 || end == 0 ||
		name[end] != '\0')
		return 0;
	return event;
}

static uint64_t event_value(const struct top *top, unsigned int event, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "usher_event_%u_%s", event, what);
	return value(top, name);
}

static void print_events(struct top *top)
{
	bool head = false;

	for (uint32_t i = 0; i < top->now.count; i++) {
		unsigned int event = event_of(top->now.stat[i].name);

		if (event == 0)
			continue;
		if (!head) {
			line(top, "%s", "");
			line(top, "%-8s %-9s %10s %10s %10s %10s %10s", "event", "status", "seats",
				"free", "held", "sold", "house");
		}
		head = true;
		line(top, "%-8u %-9s %10llu %10llu %10llu %10llu %10llu", event,
			event_status_name(top->now.stat[i].value),
			(unsigned long long)event_value(top, event, "seats"),
			(unsigned long long)event_value(top, event, "free"),
			(unsigned long long)(event_value(top, event, "seats") -
					     event_value(top, event, "free") -
					     event_value(top, event, "sold") -
					     event_value(top, event, "house")),
			(unsigned long long)event_value(top, event, "sold"),
			(unsigned long long)event_value(top, event, "house"));
	}
}

/* ret: 0 to 100: how much of the loops' turns found something to do. */
static double busy_percent(const struct top *top)
{
	double turns = rate(top, "usher_turns");

	return turns > 0 ? 100 - 100 * rate(top, "usher_idle_turns") / turns : 0;
}

static double mean_write_us(const struct top *top)
{
	double writes = rate(top, "usher_journal_writes");

	return writes > 0 ? rate(top, "usher_journal_write_ns_sum") / writes / 1e3 : 0;
}

static uint64_t durable_lag(const struct top *top)
{
	uint64_t reserved = value(top, "usher_journal_reserved_sequence");
	uint64_t durable = value(top, "usher_journal_durable_sequence");

	return reserved > durable ? reserved - durable : 0;
}

static void print_screen(struct top *top)
{
	struct winsize size = {.ws_row = 0};
	struct timespec now;

	top->screen = !top->once && isatty(STDOUT_FILENO) != 0;
	if (top->screen && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1)
		top->lines_left = size.ws_row - 1u;
	else
		top->lines_left = 1000;
	if (top->screen)
		printf(SCREEN_HOME);
	clock_gettime(CLOCK_REALTIME, &now);
	line(top, "usherd up %.0f s   %llu loops, %.1f %% of turns busy   waiting for disk %llu",
		(double)now.tv_sec - (double)value(top, "usher_started_ns") / 1e9,
		(unsigned long long)value(top, "usher_loops"), busy_percent(top),
		(unsigned long long)value(top, "usher_waiting"));
	line(top, "received %.0f packets/s, %.1f MB/s   control %.0f messages/s, %llu clients",
		rate(top, "usher_rx_packets"), rate(top, "usher_rx_bytes") / 1e6,
		rate(top, "usher_control_messages"),
		(unsigned long long)value(top, "usher_control_clients"));
	line(top,
		"journal %.0f records/s, %.1f MB/s, %.0f writes/s of %.0f us   behind %llu "
		"records   %llu segments, epoch %llu",
		rate(top, "usher_records"), rate(top, "usher_journal_bytes") / 1e6,
		rate(top, "usher_journal_writes"), mean_write_us(top),
		(unsigned long long)durable_lag(top),
		(unsigned long long)value(top, "usher_journal_segments"),
		(unsigned long long)value(top, "usher_journal_epoch"));
	print_group(top, "requests", "usher_op_");
	print_group(top, "answers", "usher_status_");
	print_group(top, "drops", "usher_drop_");
	print_group(top, "hardware filter", "usher_filter_");
	print_events(top);
	if (top->screen)
		printf(SCREEN_REST);
	fflush(stdout);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* All counters as they stand, and how fast those grew that are no event's. */
static void print_json(const struct top *top)
{
	bool first = true;

	printf("{\"seconds\":%.6f,\"values\":{", span_s(top));
	for (uint32_t i = 0; i < top->now.count; i++)
		printf("%s\"%s\":%llu", i != 0 ? "," : "", top->now.stat[i].name,
			(unsigned long long)top->now.stat[i].value);
	printf("},\"per_second\":{");
	for (uint32_t i = 0; i < top->now.count; i++) {
		const char *name = top->now.stat[i].name;

		if (strncmp(name, "usher_event_", 12) == 0)
			continue;
		printf("%s\"%s\":%.3f", first ? "" : ",", name, rate(top, name));
		first = false;
	}
	printf("},\"durable_lag\":%llu,\"busy_percent\":%.3f,\"write_us\":%.3f}\n",
		(unsigned long long)durable_lag(top), busy_percent(top), mean_write_us(top));
	fflush(stdout);
}

/* ---- loop ---------------------------------------------------------------------------------- */

static void print_help(void)
{
	printf("usage: usher top [OPTIONS]\n\n"
	       "Shows requests, answers, drops, journal and events of a running usherd.\n\n"
	       "  -s, --socket PATH   control socket (default: %s)\n"
	       "  -d, --delay SECONDS between two readings (default 1)\n"
	       "      --once          one reading over that time, then end\n"
	       "      --json          one JSON object a line: values, per_second, durable_lag\n"
	       "  -h, --help          this\n\n"
	       "examples:\n"
	       "  usher top\n"
	       "  usher top --once --json | jq .per_second.usher_records\n\n"
	       "Exit status: 0 ended by a signal or --once, 1 usherd cannot be reached, 2 usage.\n",
		ush_client_default_path());
}

static int parse(struct top *top, int argc, char **argv)
{
	static const struct option longs[] = {{"socket", required_argument, NULL, 's'},
		{"delay", required_argument, NULL, 'd'}, {"once", no_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	char *end;
	int letter;

	while ((letter = getopt_long(argc, argv, "s:d:h", longs, NULL)) != -1) {
		switch (letter) {
		case 's':
			top->socket = optarg;
			break;
		case 'd':
			top->seconds = strtod(optarg, &end);
			if (end == optarg || *end != '\0' ||
				!(top->seconds >= 0.05 && top->seconds <= 3600)) {
				fprintf(stderr, "usher top: --delay %s: want 0.05 to 3600\n",
					optarg);
				return -USH_EINVAL;
			}
			break;
		case 'o':
			top->once = true;
			break;
		case 'j':
			top->json = true;
			break;
		case 'h':
			print_help();
			return 1;
		default:
			return -USH_EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "usher top: what is `%s`? See usher top --help\n", argv[optind]);
		return -USH_EINVAL;
	}
	return 0;
}

/* ret: 0; err: as client_stats_read. */
static int show(struct top *top, struct ush_client *client, struct ush_message *message)
{
	const struct timespec pause = {.tv_sec = (time_t)top->seconds,
		.tv_nsec = (long)((top->seconds - (double)(time_t)top->seconds) * 1e9)};
	int error = client_stats_read(client, &top->now, message);

	while (error == 0 && stop_signal == 0) {
		struct client_stats older = top->before;

		top->before = top->now;
		top->now = older;
		nanosleep(&pause, NULL);
		if (stop_signal != 0)
			break;
		error = client_stats_read(client, &top->now, message);
		if (error != 0)
			break;
		if (top->json)
			print_json(top);
		else
			print_screen(top);
		if (top->once)
			break;
	}
	return error;
}

int cmd_top(int argc, char **argv)
{
	struct top top = {.socket = NULL, .seconds = 1};
	const struct sigaction action = {.sa_handler = on_signal};
	struct ush_message message = {.text = ""};
	struct ush_client client;
	int status = parse(&top, argc, argv);
	bool screen;

	if (status != 0)
		return status > 0 ? USHER_OK : USHER_USAGE;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	status = ush_client_open(
		&client, top.socket != NULL ? top.socket : ush_client_default_path(), &message);
	if (status == 0) {
		screen = !top.once && !top.json && isatty(STDOUT_FILENO) != 0;
		if (screen)
			printf(SCREEN_ENTER);
		status = show(&top, &client, &message);
		if (screen) {
			printf(SCREEN_LEAVE);
			fflush(stdout);
		}
		ush_client_close(&client);
	}
	client_stats_free(&top.before);
	client_stats_free(&top.now);
	if (status == 0)
		return USHER_OK;
	fprintf(stderr, "usher top: %s\n", message.text);
	return USHER_FAILED;
}
