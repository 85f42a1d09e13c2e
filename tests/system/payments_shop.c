/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-control with orders/ and payments/, for its system tests: who asks is what the headers
 * X-Test-User and X-Test-Role say.
 *
 * usage: payments-shop JOURNAL SOCKET DATABASE URL PORT
 *
 * Prints a line {"event":"ready","port":N} on stderr as usher-control does.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "catalogue/catalogue.h"
#include "http/server.h"
#include "link/link.h"
#include "orders/orders.h"
#include "fetch/fetch.h"
#include "payments/payments.h"
#include "tests/system/people_by_header.h"

/* ---- people ---- */

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	(void)conn;
	fprintf(stderr, "{\"audit\":\"%s\",\"by\":%u,\"object\":\"%s\",\"text\":\"%s\"}\n", action,
		(unsigned)who->role, object, text);
}

/* ---- settings ---- */

static const char *url;

static const char *setting(const struct ush_core *core, const char *section, const char *key)
{
	static const char *const settings[][2] = {{"key_file", "-"}, {"webhook_secret_file", "-"},
		{"public_key", "pk_test_usher"}, {"pay_ms", "20000"}, {"poll_ms", "3000"},
		{"back_off_ms", "10"}, {"timeout_ms", "500"}, {"buyer_refunds", "yes"}};

	(void)core;
	if (strcmp(section, "payments") != 0)
		return NULL;
	if (strcmp(key, "url") == 0)
		return url;
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (strcmp(settings[i][0], key) == 0)
			return settings[i][1];
	return NULL;
}

static char *secret(const struct ush_core *core, const char *section, const char *key,
	size_t *bytes, struct ush_message *message)
{
	char *text = strdup(strcmp(key, "key_file") == 0 ? "sk_test_usher\n" : "whsec_usher\n");

	(void)core;
	(void)section;
	(void)message;
	*bytes = strlen(text);
	return text;
}

/* ---- program ---- */

static void stop(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	event_base_loopbreak(context);
}

int main(int argc, char **argv)
{
	const struct ush_db_step *const steps[] = {
		ush_catalogue_schema, ush_orders_schema, ush_payments_schema, NULL};
	struct ush_core core = {0};
	struct ush_message message = {.text = ""};
	struct ush_http_config config;
	struct ush_orders *orders;
	struct ush_payments *payments;
	char port[16];
	int error;

	if (argc < 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	evthread_use_pthreads();
	core.base = event_base_new();
	core.journal_dir = argv[1];
	core.setting = setting;
	core.secret = secret;
	url = argv[4];
	ush_http_config_init(&config);
	config.port = (uint16_t)strtoul(argv[5], NULL, 10);
	config.queued_bytes_max = 1 << 20;
	error = ush_http_server_open(&core.http, &config, core.base, &message);
	if (error == 0)
		error = ush_db_open(&core.db, argv[3], 4, steps, core.base, &message);
	if (error == 0)
		error = ush_fetch_open(&core.fetch, core.base, &message);
	if (error == 0)
		error = ush_link_open(&core.link, argv[2], core.base, NULL, NULL, &message);
	if (error == 0)
		ush_http_filter_add(core.http, people_by_header, NULL);
	if (error == 0)
		error = ush_orders_open(&orders, &core, &message);
	if (error == 0)
		error = ush_payments_open(&payments, &core, &message);
	if (error != 0) {
		fprintf(stderr, "payments-shop: %s\n", message.text);
		return 1;
	}
	snprintf(port, sizeof(port), "%u", ush_http_server_port(core.http));
	ush_core_log(USH_CORE_INFO, "test", "ready", "port", port, NULL);
	event_add(evsignal_new(core.base, SIGTERM, stop, core.base), NULL);
	event_base_dispatch(core.base);
	ush_payments_close(payments);
	ush_orders_close(orders);
	ush_fetch_close(core.fetch);
	if (core.link != NULL)
		ush_link_close(core.link);
	ush_db_close(core.db);
	ush_http_server_close(core.http);
	event_base_free(core.base);
	return 0;
}
