/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue behind a real HTTP server, database and link, without the other modules: tests say
 * who asks in a header (X-Test-Who: promoter:NUMBER or operator), which people/ does otherwise.
 *
 * usage: catalogue_server DATABASE SOCKET
 */
#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue.h"
#include "db/db.h"
#include "http/server.h"
#include "link/link.h"
#include "people/people.h"

static bool set_who(struct ush_http_request *request, void *context)
{
	const char *text = ush_http_header(request, "X-Test-Who");
	struct ush_who *who;

	(void)context;
	if (text == NULL)
		return true;
	who = calloc(1, sizeof(*who));
	USH_ASSERT(who != NULL);
	who->role = strcmp(text, "operator") == 0 ? USH_ROLE_OPERATOR : USH_ROLE_PROMOTER;
	if (strncmp(text, "promoter:", 9) == 0)
		who->promoter = strtoull(text + 9, NULL, 10);
	who->user = 1;
	ush_http_who_set(request, text, who, free);
	return true;
}

const struct ush_who *ush_who(const struct ush_http_request *request)
{
	return ush_http_who(request);
}

const struct ush_who *ush_who_must(struct ush_http_request *request, uint32_t roles)
{
	const struct ush_who *who = ush_who(request);

	if (who != NULL && (roles >> who->role & 1) != 0)
		return who;
	ush_http_answer_empty(request, who == NULL ? 401 : 403);
	return NULL;
}

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	(void)conn;
	fprintf(stderr, "audit %u %s %s %s\n", (unsigned)who->role, action, object, text);
}

static void failed(void *context, int result, const char *text)
{
	(void)context;
	fprintf(stderr, "database %d %s\n", result, text);
}

static void on_term(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(context);
}

int main(int argc, char **argv)
{
	static const struct ush_db_step *const steps[] = {ush_catalogue_schema, NULL};
	struct ush_message message = {""};
	struct ush_catalogue *catalogue;
	struct ush_http_config config;
	struct ush_core core = {0};
	struct event *term;
	int ret;

	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	USH_ASSERT(evthread_use_pthreads() == 0);
	core.base = event_base_new();
	ush_http_config_init(&config);
	config.port = 0;
	config.body_bytes_max = 8u << 20;
	config.origin = "http://127.0.0.1";
	ret = ush_db_open(&core.db, argv[1], 2, steps, core.base, &message);
	if (ret == 0)
		ush_db_watch(core.db, failed, NULL);
	if (ret == 0)
		ret = ush_link_open(&core.link, argv[2], core.base, NULL, NULL, &message);
	if (ret == 0)
		ret = ush_http_server_open(&core.http, &config, core.base, &message);
	if (ret == 0) {
		ush_http_filter_add(core.http, set_who, NULL);
		ret = ush_catalogue_open(&catalogue, &core, &message);
	}
	if (ret != 0) {
		fprintf(stderr, "%d %s\n", ret, message.text);
		return 1;
	}
	term = evsignal_new(core.base, SIGTERM, on_term, core.base);
	event_add(term, NULL);
	printf("%u\n", ush_http_server_port(core.http));
	fflush(stdout);
	event_base_dispatch(core.base);
	event_free(term);
	ush_catalogue_close(catalogue);
	ush_link_close(core.link);
	core.link = NULL;
	ush_db_close(core.db);
	ush_http_server_close(core.http);
	event_base_free(core.base);
	return 0;
}
