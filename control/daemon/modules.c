/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of modules. A module that is built has USH_HAS_NAME (control/meson.build), a header
 * NAME/NAME.h, and in it ush_NAME_open, ush_NAME_close and ush_NAME_schema.
 *
 * They open in the order of the table: the filter of people/ is the first. They close in reverse.
 */
#include "daemon/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings.h"
#include "db/db.h"
#include "fetch/fetch.h"
#include "http/idempotency.h"
#include "http/server.h"
#include "link/link.h"
#ifdef USH_HAS_CATALOGUE
#include "catalogue/catalogue.h"
#endif
#ifdef USH_HAS_SENDER
#include "sender/sender.h"
#endif
#ifdef USH_HAS_MAIL
#include "mail/mail.h"
#endif
#ifdef USH_HAS_PEOPLE
#include "people/people.h"
#endif
#ifdef USH_HAS_ORDERS
#include "orders/orders.h"
#endif
#ifdef USH_HAS_ENTRY
#include "entry/entry.h"
#endif
#ifdef USH_HAS_PAYMENTS
#include "payments/payments.h"
#endif
#ifdef USH_HAS_TICKETS
#include "tickets/tickets.h"
#endif
#ifdef USH_HAS_HOOKS
#include "hooks/hooks.h"
#endif

struct module {
	const char *name;
	const struct ush_db_step *schema; /* NULL: it has no tables */
	int (*open)(const struct ush_core *core, struct ush_message *message);
	void (*close)(void);
};

/* What ush_NAME_open gave, and a pair of functions of one type. */
#define MODULE(name) \
	static struct ush_##name *the_##name; \
	static int open_##name(const struct ush_core *core, struct ush_message *message) \
	{ \
		return ush_##name##_open(&the_##name, core, message); \
	} \
	static void close_##name(void) \
	{ \
		ush_##name##_close(the_##name); \
	}
#define ROW(name) {#name, ush_##name##_schema, open_##name, close_##name},

#ifdef USH_HAS_CATALOGUE
MODULE(catalogue)
#endif
#ifdef USH_HAS_MAIL
MODULE(mail)
#endif
#ifdef USH_HAS_PEOPLE
MODULE(people)
#endif
#ifdef USH_HAS_ORDERS
MODULE(orders)
#endif
#ifdef USH_HAS_PAYMENTS
MODULE(payments)
#endif
#ifdef USH_HAS_ENTRY
MODULE(entry)
#endif
#ifdef USH_HAS_TICKETS
MODULE(tickets)
#endif
#ifdef USH_HAS_HOOKS
MODULE(hooks)
#endif

static const struct module modules[] = {
#ifdef USH_HAS_PEOPLE
	ROW(people)
#endif
#ifdef USH_HAS_CATALOGUE
		ROW(catalogue)
#endif
#ifdef USH_HAS_MAIL
			ROW(mail)
#endif
#ifdef USH_HAS_ORDERS
				ROW(orders)
#endif
#ifdef USH_HAS_PAYMENTS
					ROW(payments)
#endif
#ifdef USH_HAS_ENTRY
						ROW(entry)
#endif
#ifdef USH_HAS_TICKETS
							ROW(tickets)
#endif
#ifdef USH_HAS_HOOKS
								ROW(hooks)
#endif
									{NULL, NULL, NULL, NULL},
};

static uint32_t opened;

/* ---- what core points to ---- */

#ifdef USH_HAS_DB
static struct ush_idempotency *idempotency;

/* ret: the connection string, malloced; NULL with a message. */
static char *connection_of(const struct ush_core *core, struct ush_message *message)
{
	const char *given = ush_setting(core, "database", "connection");
	const size_t most = strlen(core->state_dir) + 32;
	size_t bytes;
	char *text;

	if (ush_setting(core, "database", "connection_file") != NULL)
		return ush_secret(core, "database", "connection_file", &bytes, message);
	text = given != NULL ? strdup(given) : malloc(most);
	USH_ASSERT(text != NULL);
	if (given == NULL)
		snprintf(text, most, "sqlite:%s/usher.db", core->state_dir);
	return text;
}

/* A statement of a job failed; the text holds no values. by: a worker thread. */
static void db_failed(void *context, int result, const char *text)
{
	(void)context;
	ush_core_log(USH_CORE_WARN, "db", text, "error", ush_error_text(result), NULL);
}

static int open_db(struct ush_core *core, struct ush_message *message)
{
	const struct ush_db_step *steps[sizeof(modules) / sizeof(modules[0]) + 3];
	uint32_t count = 0;
	uint64_t readers;
	char *connection;
	int ret = ush_setting_number("database", "readers", 1, 64, &readers, message);

	if (ret != 0)
		return ret;
	connection = connection_of(core, message);
	if (connection == NULL)
		return -USH_EACCES;
	steps[count++] = ush_http_schema;
#ifdef USH_HAS_SENDER
	steps[count++] = ush_sender_schema;
#endif
	for (const struct module *module = modules; module->name != NULL; module++)
		if (module->schema != NULL)
			steps[count++] = module->schema;
	steps[count] = NULL;
	ret = ush_db_open(&core->db, connection, (uint32_t)readers, steps, core->base, message);
	if (ret == 0)
		ush_db_watch(core->db, db_failed, NULL);
	free(connection);
	/* Tools serve nothing. */
	if (ret == 0 && core->http != NULL)
		ret = ush_idempotency_open(&idempotency, core, message);
	return ret;
}
#endif

#ifdef USH_HAS_LINK
static void link_changed(void *context, bool up)
{
	(void)context;
	ush_core_log(up ? USH_CORE_INFO : USH_CORE_WARN, "daemon",
		up ? "usherd is there" : "usherd is gone", NULL);
}
#endif

static int open_core(struct ush_core *core, struct ush_message *message)
{
	int ret = 0;

#ifdef USH_HAS_DB
	ret = open_db(core, message);
#endif
#ifdef USH_HAS_LINK
	if (ret == 0 && !core->read_only)
		ret = ush_link_open(&core->link, ush_setting(core, "usherd", "socket"), core->base,
			link_changed, NULL, message);
#endif
#ifdef USH_HAS_FETCH
	if (ret == 0)
		ret = ush_fetch_open(&core->fetch, core->base, message);
#endif
	(void)core;
	(void)message;
	return ret;
}

int ush_modules_open(struct ush_core *core, struct ush_message *message)
{
	int ret = open_core(core, message);

	while (ret == 0 && modules[opened].name != NULL) {
		struct ush_message inner = {""};

		ret = modules[opened].open(core, &inner);
		if (ret == 0)
			opened++;
		else
			ush_message_set(message, "%s: %s", modules[opened].name, inner.text);
	}
	if (ret != 0)
		ush_modules_close(core);
	return ret;
}

void ush_modules_close(struct ush_core *core)
{
	while (opened > 0)
		modules[--opened].close();
#ifdef USH_HAS_FETCH
	if (core->fetch != NULL)
		ush_fetch_close(core->fetch);
	core->fetch = NULL;
#endif
#ifdef USH_HAS_LINK
	if (core->link != NULL)
		ush_link_close(core->link);
	core->link = NULL;
#endif
#ifdef USH_HAS_DB
	if (core->db != NULL)
		ush_db_close(core->db);
	core->db = NULL;
	if (idempotency != NULL)
		ush_idempotency_close(idempotency);
	idempotency = NULL;
#endif
	(void)core;
}

const char *ush_modules_missing(const struct ush_core *core)
{
#ifdef USH_HAS_LINK
	if (!core->read_only && !ush_link_is_up(core->link))
		return "usherd is not there";
#endif
	(void)core;
	return NULL;
}

int ush_modules_orders(struct ush_core *core, const char *what, struct ush_message *message)
{
#if defined(USH_HAS_ORDERS) && defined(USH_HAS_DB)
	int64_t differences = 0;
	int error = open_db(core, message);

	if (error != 0)
		return 1;
	if (strcmp(what, "rebuild") == 0)
		error = ush_orders_rebuild(core->db, core->journal_dir, message);
	else
		error = ush_orders_check(core->db, core->journal_dir, &differences, message);
	ush_db_close(core->db);
	core->db = NULL;
	if (error != 0)
		return 1;
	printf("{\"orders\":\"%s\",\"differences\":%lld}\n", what, (long long)differences);
	return differences != 0;
#else
	(void)core;
	(void)what;
	ush_message_set(message, "orders is not in this build");
	return 1;
#endif
}

int ush_modules_account(
	struct ush_core *core, const char *role, const char *mail, struct ush_message *message)
{
#if defined(USH_HAS_PEOPLE) && defined(USH_HAS_DB)
	static const struct {
		const char *name;
		enum ush_role role;
	} roles[] = {{"buyer", USH_ROLE_BUYER}, {"promoter", USH_ROLE_PROMOTER},
		{"operator", USH_ROLE_OPERATOR}};
	uint64_t account = 0;
	int error = -USH_EINVAL;

	ush_message_set(message, "'%s' is no role: buyer, promoter or operator", role);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(role, roles[i].name) != 0)
			continue;
		message->text[0] = '\0';
		error = open_db(core, message);
		if (error != 0)
			return 1;
		error = ush_people_appoint(core->db, mail, roles[i].role, &account, message);
		ush_db_close(core->db);
		core->db = NULL;
	}
	if (error != 0)
		return 1;
	printf("{\"account\":\"u_%llu\",\"role\":\"%s\"}\n", (unsigned long long)account, role);
	return 0;
#else
	(void)core;
	(void)role;
	(void)mail;
	ush_message_set(message, "people is not in this build");
	return 1;
#endif
}
