/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-control with orders/ alone, for its system tests: who asks is what the headers X-Test-User
 * and X-Test-Role say.
 *
 * usage: orders_shop JOURNAL SOCKET DATABASE PORT [read-only]
 *        orders_shop rebuild|check JOURNAL DATABASE
 *        orders_shop load SOCKET EVENT ROWS CHANGES-A-SECOND SECONDS
 *
 * Prints a line {"event":"ready","port":N} on stderr as usher-control does.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "catalogue/catalogue.h"
#include "http/server.h"
#include "link/link.h"
#include "orders/orders.h"
#include "tests/system/people_by_header.h"

/* ---- people ---- */

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	(void)conn;
	(void)who;
	(void)action;
	(void)object;
	(void)text;
}

/* ---- load: holds made and given back, at a rate of changes that were accepted ---- */

#define LOAD_USERS 4096u
#define LOAD_TICK_MS 10u

struct load_user {
	struct load *load;
	uint64_t hold;
	uint32_t request_id;
	uint32_t number;
	bool asked;
};

struct load {
	struct event_base *base;
	struct ush_link *link;
	struct ush_random random;
	uint32_t event, rows, rate;
	uint64_t changes, refused, sent, lost;
	uint32_t under_way;
	struct timeval began;
	uint32_t next;
	struct load_user user[LOAD_USERS];
};

static void load_done(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct load_user *user = context;

	(void)bytes;
	user->asked = false;
	user->load->under_way--;
	user->load->lost += result != 0;
	if (result != 0)
		return;
	user->load->changes += reply->status == USH_STATUS_OK;
	user->load->refused += reply->status != USH_STATUS_OK;
	user->hold =
		reply->op == USH_OP_RESERVE && reply->status == USH_STATUS_OK ? reply->hold : 0;
}

static void load_one(struct load *load)
{
	struct load_user *user = &load->user[load->next++ % LOAD_USERS];
	struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = user->hold != 0 ? USH_OP_RELEASE : USH_OP_RESERVE,
		.size = sizeof(request),
		.event = load->event,
		.user = 500000 + user->number,
		.hold = user->hold};

	if (user->asked)
		return;
	if (user->hold == 0) {
		request.row = (uint16_t)ush_random_below(&load->random, load->rows);
		request.mask = 1ull << ush_random_below(&load->random, 32);
	}
	request.request_id = ++user->request_id;
	user->asked = true;
	load->sent++;
	load->under_way++;
	ush_link_call(load->link, &request, -1, 5000, load_done, user);
}

static void load_tick(evutil_socket_t fd, short what, void *context)
{
	struct load *load = context;
	struct timeval now, past;
	int64_t missing;

	(void)fd;
	(void)what;
	gettimeofday(&now, NULL);
	timersub(&now, &load->began, &past);
	/* By the clock and by what was accepted: a seat that is taken is no change, and a tick that
	 * came late is made good, over some ticks. */
	missing = ((int64_t)past.tv_sec * 1000 + past.tv_usec / 1000) * load->rate / 1000 -
		  (int64_t)load->changes - load->under_way;
	if (missing > 2 * (int64_t)load->rate * LOAD_TICK_MS / 1000)
		missing = 2 * (int64_t)load->rate * LOAD_TICK_MS / 1000;
	while (missing-- > 0)
		load_one(load);
}

static int load_run(char **argv)
{
	static struct load load;
	struct timeval tick = {.tv_usec = LOAD_TICK_MS * 1000};
	struct timeval end = {.tv_sec = (time_t)strtoul(argv[6], NULL, 10)};
	struct ush_message message;

	load.base = event_base_new();
	load.event = (uint32_t)strtoul(argv[3], NULL, 10);
	load.rows = (uint32_t)strtoul(argv[4], NULL, 10);
	load.rate = (uint32_t)strtoul(argv[5], NULL, 10);
	ush_random_init(&load.random, 1);
	for (uint32_t i = 0; i < LOAD_USERS; i++)
		load.user[i] = (struct load_user){.load = &load, .number = i};
	if (ush_link_open(&load.link, argv[2], load.base, NULL, NULL, &message) != 0)
		return 1;
	gettimeofday(&load.began, NULL);
	event_add(event_new(load.base, -1, EV_PERSIST, load_tick, &load), &tick);
	event_base_loopexit(load.base, &end);
	event_base_dispatch(load.base);
	printf("{\"changes\":%llu,\"refused\":%llu,\"lost\":%llu}\n",
		(unsigned long long)load.changes, (unsigned long long)load.refused,
		(unsigned long long)load.lost);
	return 0;
}

/* ---- program ---- */

static void stop(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	event_base_loopbreak(context);
}

static int tool(char **argv)
{
	const struct ush_db_step *const steps[] = {ush_catalogue_schema, ush_orders_schema, NULL};
	struct ush_message message = {.text = ""};
	struct event_base *base = event_base_new();
	int64_t differences = 0;
	struct ush_db *db;
	int error = ush_db_open(&db, argv[3], 1, steps, base, &message);

	if (error == 0 && strcmp(argv[1], "rebuild") == 0)
		error = ush_orders_rebuild(db, argv[2], &message);
	else if (error == 0)
		error = ush_orders_check(db, argv[2], &differences, &message);
	printf("{\"error\":\"%s\",\"differences\":%lld,\"message\":\"%s\"}\n",
		ush_error_text(error), (long long)differences, message.text);
	return error != 0 || differences != 0;
}

int main(int argc, char **argv)
{
	const struct ush_db_step *const steps[] = {ush_catalogue_schema, ush_orders_schema, NULL};
	struct ush_core core = {0};
	struct ush_message message = {.text = ""};
	struct ush_http_config config;
	struct ush_orders *orders;
	char port[16];
	int error;

	if (argc == 4)
		return tool(argv);
	if (argc == 7 && strcmp(argv[1], "load") == 0)
		return load_run(argv);
	if (argc < 5)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	evthread_use_pthreads();
	core.base = event_base_new();
	core.journal_dir = argv[1];
	core.read_only = argc > 5;
	ush_http_config_init(&config);
	config.port = (uint16_t)strtoul(argv[4], NULL, 10);
	config.queued_bytes_max = 1 << 20;
	error = ush_http_server_open(&core.http, &config, core.base, &message);
	if (error == 0)
		error = ush_db_open(&core.db, argv[3], 4, steps, core.base, &message);
	if (error == 0 && !core.read_only)
		error = ush_link_open(&core.link, argv[2], core.base, NULL, NULL, &message);
	if (error == 0)
		ush_http_filter_add(core.http, people_by_header, NULL);
	if (error == 0)
		error = ush_orders_open(&orders, &core, &message);
	if (error != 0) {
		fprintf(stderr, "orders_shop: %s\n", message.text);
		return 1;
	}
	snprintf(port, sizeof(port), "%u", ush_http_server_port(core.http));
	ush_core_log(USH_CORE_INFO, "test", "ready", "port", port, NULL);
	event_add(evsignal_new(core.base, SIGTERM, stop, core.base), NULL);
	event_base_dispatch(core.base);
	ush_orders_close(orders);
	if (core.link != NULL)
		ush_link_close(core.link);
	ush_db_close(core.db);
	ush_http_server_close(core.http);
	event_base_free(core.base);
	return 0;
}
