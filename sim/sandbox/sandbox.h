/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-sandbox: a payment provider for tests and demos that speaks Stripe's published API.
 *
 * One thread, one event loop. What a request changes, its idempotency key and the events that it
 * causes are one transaction of SQLite, durable before the answer leaves.
 *
 * Owns:  the database, the HTTP server, deliveries under way.
 * Reads: the options of main.c.
 * Never: card numbers; threads; addresses other than those of webhook endpoints.
 */
#ifndef USH_SANDBOX_H
#define USH_SANDBOX_H

#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>
#include <sqlite3.h>

#include "base/base.h"

#define SAND_PARTS_MAX 6u
#define SAND_ID_BYTES 48u
/* Stripe keeps idempotency keys for 24 hours at least, authorisations of cards for 7 days. */
#define SAND_KEY_LIFE_S 86400
#define SAND_AUTHORISATION_S (7 * 86400)

struct sand {
	struct event_base *base;
	struct evhttp *http;
	sqlite3 *db;
	const char *secret_key;
	const char *public_key;
	const char *webhook_secret;
	char origin[160];      /* where our pages are, as a browser reaches them */
	int64_t clock_shift_s; /* set by /_sandbox/clock, durable */
	uint32_t retry_ms;
	uint32_t attempts_max;
	uint32_t refund_delay_s;
	uint32_t deliveries; /* under way */
	struct ush_random chance;
	struct sand_exchange *running; /* requests that wait to be carried out */
	uint32_t waiting;              /* answers that are delayed */
	bool stopping;
};

/* A request as the operations see it. */
struct sand_call {
	struct sand *sand;
	const char *method;
	const char *path;
	char *part[SAND_PARTS_MAX]; /* segments of the path */
	uint32_t parts;
	json_t *form;           /* parameters, nested */
	const char *key;        /* Idempotency-Key, or NULL */
	char id[SAND_ID_BYTES]; /* Request-Id */
	bool is_public;         /* came with the publishable key */
	bool begun; /* parameters were fine: from here on the answer is kept under the key */
	bool replayed;
	int status;
	json_t *answer; /* JSON, or NULL when `page` is set */
	char *page;     /* HTML */
	char *location;
};

/* ---- clock.c ---- */

/* ret: seconds since 1970 on the sandbox's clock, which can be put forward. */
int64_t sand_now(const struct sand *sand);
/* ret: milliseconds since 1970 on the real clock, for deliveries and delays. */
int64_t sand_real_ms(void);
/* Writes `prefix` and 24 random letters and digits. */
void sand_id(char id[SAND_ID_BYTES], const char *prefix);

/* ---- log.c ---- */

/* One line of JSON on stderr. in: fields: stolen; level "info", "warning" or "error". Never bodies,
 * keys or anything that a buyer typed. */
void sand_log(const char *level, const char *event, json_t *fields);
/* A broken machine: says what and ends the process with status 3. */
_Noreturn void sand_die(const char *what, const char *why);

/* ---- form.c ---- */

/* in: text of application/x-www-form-urlencoded with a[b][c]=v. ret: an object, arrays where all
 * names are numbers; NULL with a message when it is malformed. */
json_t *sand_form_parse(const char *text, size_t bytes, struct ush_message *message);
/* Each of these answers 400 and returns false when the parameter is not what it should be. */
bool sand_form_known(struct sand_call *call, const char *const *names);
bool sand_form_integer(struct sand_call *call, const char *name, bool needed, json_int_t *value);
bool sand_form_bool(struct sand_call *call, const char *name, bool *value);
bool sand_form_choice(
	struct sand_call *call, const char *name, const char *const *choices, const char **value);
bool sand_form_text(struct sand_call *call, const char *name, bool needed, const char **value);
/* Merges the parameter `metadata` into that of `object`; an empty value takes a name away. */
bool sand_form_metadata(struct sand_call *call, json_t *object);

/* ---- store.c ---- */

int sand_store_open(struct sand *sand, const char *path, struct ush_message *message);
void sand_store_close(struct sand *sand);
/* in: types: t text, i int64_t, one for each ?. ret: prepared; step it. A database that fails ends
 * the process. */
sqlite3_stmt *sand_sql(struct sand *sand, const char *sql, const char *types, ...);
/* ret: there is a row. At the end the statement is gone. */
bool sand_step(struct sand *sand, sqlite3_stmt *statement);
/* Runs a statement without rows. */
void sand_run(struct sand *sand, const char *sql, const char *types, ...);
void sand_begin(struct sand *sand);
void sand_commit(struct sand *sand);
void sand_rollback(struct sand *sand);
/* ret: the object, or NULL. kind: "payment_intent", "charge", "refund", "dispute", "event",
 * "webhook_endpoint". */
json_t *sand_get(struct sand *sand, const char *kind, const char *id);
#define SAND_DUE_AS_IT_WAS (-1)
/* Inserts or replaces. in: due_s: when the sandbox should look at it again, 0 never. */
void sand_put(struct sand *sand, const json_t *object, int64_t due_s);
void sand_meta_set(struct sand *sand, const char *name, const char *value);
/* ret: to free(), or NULL. */
char *sand_meta_get(struct sand *sand, const char *name);
/* A line in the books: what moved, for which intent, because of which object. */
void sand_book(struct sand *sand, const char *kind, const json_t *intent, const char *object,
	json_int_t amount);

/* ---- answer.c ---- */

const char *sand_text(const json_t *object, const char *name);
json_int_t sand_number(const json_t *object, const char *name);
bool sand_true(const json_t *object, const char *name);
void sand_set_text(json_t *object, const char *name, const char *value);
void sand_set_number(json_t *object, const char *name, json_int_t value);
void sand_answer(struct sand_call *call, int status, json_t *answer);
/* Answers an error object. in: code, param: may be NULL. */
void sand_fail(struct sand_call *call, int status, const char *type, const char *code,
	const char *param, const char *format, ...) USH_PRINTF(6, 7);
/* ret: the object; NULL after it answered 404 (in the path) or 400 (in parameter `param`). */
json_t *sand_need(struct sand_call *call, const char *kind, const char *id, const char *param);
/* Answers a page of a list, newest first. in: field, value: only those where body.field = value. */
void sand_list(struct sand_call *call, const char *kind, const char *field, const char *value);
/* ret: `expand[]` names what can be expanded; false after an error was answered. */
bool sand_expand_known(struct sand_call *call);
/* Replaces ids that `expand[]` names by their objects. */
void sand_expand(struct sand_call *call, json_t *answer);

/* ---- card.c ---- */

struct sand_card {
	const char *name; /* pm_card_... */
	const char *brand;
	const char *last4;
	const char *code;    /* the error's code when it is declined, or NULL */
	const char *decline; /* its decline_code */
	const char *dispute; /* the reason of a dispute that follows at once */
	bool authenticate;   /* 3-D Secure */
	bool refund_pending;
	bool refund_fails;
};

const struct sand_card *sand_card_find(const char *name);
json_t *sand_card_method(const struct sand_card *card, int64_t created);
/* ret: why an issuer with that code says no, for the error's message. */
const char *sand_card_reason(const struct sand_card *card);
/* ret: smallest amount in minor units, or -1: no such currency. */
json_int_t sand_currency_minimum(const char *currency);

/* ---- event.c ---- */

/* Stores an event about `object` and its deliveries, within the transaction. */
void sand_emit(struct sand_call *call, const char *type, const json_t *object);
void sand_deliver(struct sand *sand);
/* The sandbox's own changes have no request: a call with which to make them. */
struct sand_call sand_own_call(struct sand *sand);
void sand_endpoints(struct sand_call *call);
/* Adds an endpoint for all events unless one with that address is there. */
void sand_endpoint_ensure(struct sand *sand, const char *url);
/* /_sandbox/webhooks: how deliveries go wrong. */
void sand_webhooks_script(struct sand_call *call);

/* ---- intent.c, money.c ---- */

void sand_intents(struct sand_call *call);
/* The person has (not) proved who they are. ret: false when the intent waits for nobody. */
bool sand_intent_authenticate(struct sand_call *call, json_t *intent, bool success);
/* An authorisation ran out. */
void sand_intent_expire(struct sand_call *call, json_t *intent);

json_t *sand_charge_make(struct sand_call *call, json_t *intent, const struct sand_card *card);
void sand_charge_capture(struct sand_call *call, json_t *intent, json_t *charge, json_int_t amount);
void sand_charge_release(struct sand_call *call, json_t *intent, json_t *charge, const char *event);
void sand_refunds(struct sand_call *call);
void sand_refund_settle(struct sand_call *call, json_t *refund);
json_t *sand_dispute_open(
	struct sand_call *call, json_t *charge, const char *reason, json_int_t amount);
void sand_dispute_close(struct sand_call *call, json_t *dispute, bool won);

/* ---- control.c, books.c, fault.c ---- */

void sand_control(struct sand_call *call);
/* Does what is due: refunds settle, authorisations run out, keys are forgotten. Once a second. */
void sand_tick(struct sand *sand);
void sand_books(struct sand_call *call);

enum sand_fault_kind {
	SAND_NO_FAULT,
	SAND_DELAY,
	SAND_DROP,
	SAND_ERROR,
	SAND_RATE_LIMIT
};
struct sand_fault {
	enum sand_fault_kind kind;
	bool before; /* the request was carried out, else after that */
	uint32_t ms;
	int status;
};
/* ret: what the script says about this request; counted as used. */
struct sand_fault sand_fault_take(struct sand_call *call);
/* Adds faults: an object or an array of them. ret: false with a message. */
bool sand_faults_add(struct sand *sand, const json_t *faults, struct ush_message *message);
void sand_faults(struct sand_call *call);

/* ---- key.c ---- */

/* ret: true: answered already, as a replay or as an error. */
bool sand_key_known(struct sand_call *call);
void sand_key_save(struct sand_call *call);

/* ---- server.c ---- */

void sand_route(struct sand_call *call);
int sand_server_open(struct sand *sand, const char *address, uint16_t port, uint16_t *bound,
	struct ush_message *message);
/* Takes nothing new; the loop ends when what is under way is answered. */
void sand_server_drain(struct sand *sand);
/* ret: another request under way has this key. */
bool sand_key_running(const struct sand_call *call);

#endif /* USH_SANDBOX_H */
