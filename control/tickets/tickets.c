/* SPDX-License-Identifier: Apache-2.0 */
/* The module's life, its consumer's clock, and its routes. */
#include "tickets/tickets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "http/server.h"
#include "mail/mail.h"
#include "people/people.h"
#include "tickets/issue.h"
#include "tickets/own_keys.h"
#include "tickets/qr.h"
#include "tickets/receipt.h"

#define LOOK_MS 500
#define BUYERS (1u << USH_ROLE_BUYER | 1u << USH_ROLE_OPERATOR)
#define PNG_SCALE 8u
#define PAGE_BYTES (512u * 1024)

struct ush_tickets {
	const struct ush_core *core;
	struct event *timer;
	char path[512];
	struct ush_ticket_keys keys;
	uint32_t under_way; /* jobs; the module itself */
	bool is_signing;    /* the keys are those of the database's tickets */
	bool stepping;
	bool closed;
};

static void release(struct ush_tickets *tickets)
{
	if (--tickets->under_way > 0)
		return;
	explicit_bzero(&tickets->keys, sizeof(tickets->keys));
	free(tickets);
}

/* ---- the consumer ---- */

struct stepping {
	struct tickets_step step; /* what the job is given: first */
	struct ush_tickets *tickets;
};
static_assert(offsetof(struct stepping, step) == 0, "a job and its end are given one pointer");

static void step(struct ush_tickets *tickets);

static void stepped(void *context, int result)
{
	struct stepping *stepping = context;
	struct ush_tickets *tickets = stepping->tickets;
	bool more = result == 0 && stepping->step.done > 0;

	tickets->stepping = false;
	if (result != 0 && result != -USH_ESTOPPED)
		ush_core_log(USH_CORE_ERROR, "tickets", "changes cannot be taken; trying again",
			"why", ush_error_text(result), NULL);
	if (stepping->step.mails > 0 && !tickets->closed)
		ush_mail_wake(NULL);
	explicit_bzero(stepping, sizeof(*stepping));
	free(stepping);
	if (more && !tickets->closed)
		step(tickets);
	release(tickets);
}

static void step(struct ush_tickets *tickets)
{
	struct stepping *stepping;

	if (tickets->stepping || !tickets->is_signing)
		return;
	stepping = calloc(1, sizeof(*stepping));
	USH_ASSERT(stepping != NULL);
	stepping->tickets = tickets;
	stepping->step.core = tickets->core;
	stepping->step.keys = tickets->keys;
	tickets->stepping = true;
	tickets->under_way++;
	ush_db_run(tickets->core->db, USH_DB_WRITE, tickets_step_job, stepped, stepping);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	step(context);
}

/* ---- requests ---- */

struct asked {
	struct ush_tickets *tickets;
	struct ush_http_request *request;
	struct ush_ticket_keys keys;
	uint64_t user; /* 0: an operator */
	uint64_t hold;
	uint32_t event;
	struct ush_ticket ticket;
	bool is_page;
	/* Found by the job. */
	struct tickets_seat *seats;
	int count;
	struct tickets_event about;
	struct tickets_receipt *receipt;
	char *text;
};

static struct asked *asked_new(struct ush_tickets *tickets, struct ush_http_request *request)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	USH_ASSERT(asked != NULL);
	asked->tickets = tickets;
	asked->request = request;
	asked->keys = tickets->keys;
	tickets->under_way++;
	return asked;
}

static void asked_free(struct asked *asked)
{
	struct ush_tickets *tickets = asked->tickets;

	free(asked->seats);
	free(asked->text);
	free(asked->receipt);
	explicit_bzero(&asked->keys, sizeof(asked->keys));
	free(asked);
	release(tickets);
}

static void asked_drop(struct asked *asked, int result)
{
	if (result == -USH_ENOENT)
		ush_http_problem(asked->request, 404, "ticket_not_found", NULL,
			"There is no such ticket or order of yours; a new one is there a moment after "
			"its sale.");
	else
		ush_http_problem(asked->request, 503, "busy", NULL, "Ask again.");
	asked_free(asked);
}

static int order_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;

	free(asked->seats);
	asked->seats = calloc(TICKETS_SEATS_MAX, sizeof(*asked->seats));
	USH_ASSERT(asked->seats != NULL);
	asked->count = tickets_of_order(conn, asked->hold, asked->seats);
	if (asked->count < 0)
		return asked->count;
	if (asked->count == 0 || (asked->user != 0 && asked->seats[0].user != asked->user))
		return -USH_ENOENT;
	tickets_event_of(conn, asked->seats[0].ticket.event, &asked->about, asked->seats,
		(uint32_t)asked->count);
	return 0;
}

static void ticket_name(const struct ush_ticket *ticket, char name[64])
{
	snprintf(name, 64, "%" PRIu32 "-%" PRIu32 "-%u-%u", ticket->event, ticket->row, ticket->bit,
		ticket->serial);
}

/* A page to print: nothing but itself and pictures from here. */
static void answer_page(struct asked *asked)
{
	char *page = malloc(PAGE_BYTES), name[600], place[600], label[600], starts[32], ticket[64];
	size_t at;

	USH_ASSERT(page != NULL);
	tickets_html(asked->about.name, name, sizeof(name));
	tickets_html(asked->about.place, place, sizeof(place));
	tickets_time(asked->about.starts_us, starts);
	at = (size_t)snprintf(page, PAGE_BYTES,
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>"
		"<style>body{font:16px/1.4 sans-serif;margin:2em}article{border:1px solid #000;"
		"padding:1em;margin:0 0 1em;break-inside:avoid;display:flex;gap:1.5em}h1{margin:0}"
		"</style><body><h1>%s</h1><p>%s, %s. Order %" PRIu64 ".</p>\n",
		name, name, place, starts, asked->hold);
	for (int i = 0; i < asked->count && at + 2048 < PAGE_BYTES; i++) {
		tickets_html(asked->seats[i].label, label, sizeof(label));
		ticket_name(&asked->seats[i].ticket, ticket);
		at += (size_t)snprintf(page + at, PAGE_BYTES - at,
			"<article><img src=\"/v1/tickets/%s.png\" alt=\"QR code of the ticket\" "
			"width=\"200\" height=\"200\"><div><h2>%s</h2><p>%s, %s</p></div></article>\n",
			ticket, label, name, starts);
	}
	ush_http_set(asked->request, "Content-Security-Policy",
		"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'");
	ush_http_set(asked->request, "Cache-Control", "private, no-store");
	ush_http_answer(asked->request, 200, "text/html; charset=utf-8", page, at);
	free(page);
}

static void answer_list(struct asked *asked)
{
	json_t *items = json_array();
	char name[64], code[USH_TICKET_CODE_CHARS + 1], path[96];

	for (int i = 0; i < asked->count; i++) {
		const struct tickets_seat *seat = &asked->seats[i];

		if (tickets_code(&asked->keys, seat, code) != 0)
			continue;
		ticket_name(&seat->ticket, name);
		snprintf(path, sizeof(path), "/v1/tickets/%s.png", name);
		json_array_append_new(
			items, json_pack("{s:s, s:s, s:[I,I], s:I, s:s, s:s}", "ticket", name,
				       "label", seat->label, "seat", (json_int_t)seat->ticket.row,
				       (json_int_t)seat->ticket.bit, "serial",
				       (json_int_t)seat->ticket.serial, "code", code, "png", path));
	}
	ush_http_set(asked->request, "Cache-Control", "private, no-store");
	ush_http_answer_json(asked->request, 200, json_pack("{s:o, s:n}", "items", items, "next"));
}

static void on_order(void *context, int result)
{
	struct asked *asked = context;

	if (result != 0) {
		asked_drop(asked, result);
		return;
	}
	if (asked->is_page)
		answer_page(asked);
	else
		answer_list(asked);
	asked_free(asked);
}

/* ret: false: answered. */
static bool has_keys(const struct ush_tickets *tickets, struct ush_http_request *request)
{
	if (!tickets->is_signing)
		ush_http_problem(request, 503, "not_ready", NULL,
			"This server has no keys of tickets: ask the one that sells them.");
	return tickets->is_signing;
}

static void start_order(struct ush_http_request *request, struct ush_tickets *tickets, bool is_page,
	ush_db_job *job, ush_db_done *done)
{
	const struct ush_who *who = ush_who_must(request, BUYERS);
	struct asked *asked;
	uint64_t hold;

	if (who == NULL || !ush_http_param_number(request, "order", UINT64_MAX, &hold))
		return;
	asked = asked_new(tickets, request);
	asked->user = who->role == USH_ROLE_OPERATOR ? 0 : who->user;
	asked->hold = hold;
	asked->is_page = is_page;
	ush_db_run(tickets->core->db, USH_DB_READ, job, done, asked);
}

static void get_list(struct ush_http_request *request, void *context)
{
	if (has_keys(context, request))
		start_order(request, context, false, order_job, on_order);
}

static void get_page(struct ush_http_request *request, void *context)
{
	if (has_keys(context, request))
		start_order(request, context, true, order_job, on_order);
}

/* ---- a receipt: of who paid, also when somebody else has the tickets ---- */

static int receipt_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	int ret;

	free(asked->receipt);
	asked->receipt = malloc(sizeof(*asked->receipt));
	USH_ASSERT(asked->receipt != NULL);
	ret = tickets_receipt_of(conn, asked->hold, INT64_MAX, asked->receipt);
	if (ret < 0)
		return ret;
	return ret == 0 || (asked->user != 0 && asked->receipt->user != asked->user) ? -USH_ENOENT
										     : 0;
}

static void on_receipt(void *context, int result)
{
	struct asked *asked = context;
	char *page;
	size_t bytes;

	if (result == -USH_ENOENT)
		ush_http_problem(asked->request, 404, "order_not_found", NULL,
			"You bought no such order; a new one is there a moment after its sale.");
	if (result != 0 && result != -USH_ENOENT)
		ush_http_problem(asked->request, 503, "busy", NULL, "Ask again.");
	if (result == 0) {
		ush_http_set(asked->request, "Cache-Control", "private, no-store");
		if (asked->is_page) {
			page = tickets_receipt_page(asked->receipt, &bytes);
			ush_http_set(asked->request, "Content-Security-Policy",
				"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors "
				"'none'");
			ush_http_answer(
				asked->request, 200, "text/html; charset=utf-8", page, bytes);
			free(page);
		} else {
			ush_http_answer_json(
				asked->request, 200, tickets_receipt_json(asked->receipt));
		}
	}
	asked_free(asked);
}

static void get_receipt(struct ush_http_request *request, void *context)
{
	start_order(request, context, false, receipt_job, on_receipt);
}

static void get_receipt_page(struct ush_http_request *request, void *context)
{
	start_order(request, context, true, receipt_job, on_receipt);
}

/* ---- one picture ---- */

static int picture_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;
	const struct ush_ticket *wanted = &asked->ticket;

	free(asked->seats);
	asked->seats = calloc(1, sizeof(*asked->seats));
	USH_ASSERT(asked->seats != NULL);
	asked->count = tickets_find(conn, wanted->event, wanted->row, wanted->bit, asked->seats);
	if (asked->count < 0)
		return asked->count;
	if (asked->count == 0 || !asked->seats->alive ||
		asked->seats->ticket.serial != wanted->serial ||
		(asked->user != 0 && asked->seats->user != asked->user))
		return -USH_ENOENT;
	return 0;
}

static void on_picture(void *context, int result)
{
	struct asked *asked = context;
	char code[USH_TICKET_CODE_CHARS + 1];
	uint8_t *png = NULL;
	size_t bytes = 0;

	if (result == 0)
		result = tickets_code(&asked->keys, asked->seats, code);
	if (result == 0)
		result = ush_qr_png(code, PNG_SCALE, &png, &bytes);
	if (result != 0) {
		asked_drop(asked, result);
		return;
	}
	ush_http_set(asked->request, "Cache-Control", "private, no-store");
	ush_http_answer(asked->request, 200, "image/png", png, bytes);
	free(png);
	asked_free(asked);
}

/* EVENT-ROW-BIT-SERIAL. */
static bool read_name(const char *name, struct ush_ticket *ticket)
{
	uint64_t part[4];
	char *end = NULL;

	for (int i = 0; i < 4; i++) {
		if (*name < '0' || *name > '9')
			return false;
		part[i] = strtoull(name, &end, 10);
		if (*end != (i < 3 ? '-' : '\0'))
			return false;
		name = end + 1;
	}
	if (part[0] > UINT32_MAX || part[1] > UINT16_MAX || part[2] > 63 || part[3] > UINT16_MAX)
		return false;
	*ticket = (struct ush_ticket){.event = (uint32_t)part[0],
		.row = (uint32_t)part[1],
		.bit = (uint8_t)part[2],
		.serial = (uint16_t)part[3]};
	return true;
}

static void get_picture(struct ush_http_request *request, void *context)
{
	struct ush_tickets *tickets = context;
	const struct ush_who *who = ush_who_must(request, BUYERS);
	struct ush_ticket ticket;
	struct asked *asked;

	if (who == NULL || !has_keys(tickets, request))
		return;
	if (!read_name(ush_http_param(request, "ticket"), &ticket)) {
		ush_http_problem(request, 404, "ticket_not_found", NULL,
			"A ticket's name is EVENT-ROW-BIT-SERIAL.");
		return;
	}
	asked = asked_new(tickets, request);
	asked->user = who->role == USH_ROLE_OPERATOR ? 0 : who->user;
	asked->ticket = ticket;
	ush_db_run(tickets->core->db, USH_DB_READ, picture_job, on_picture, asked);
}

/* ---- gates ---- */

static void get_keys(struct ush_http_request *request, void *context)
{
	const struct ush_tickets *tickets = context;
	char *text;

	if (!has_keys(tickets, request))
		return;
	text = ush_ticket_keys_text(&tickets->keys);
	USH_ASSERT(text != NULL);
	ush_http_set(request, "Cache-Control", "public, max-age=60");
	ush_http_answer(request, 200, "application/json", text, strlen(text));
	free(text);
}

static int revocations_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;

	free(asked->text);
	asked->text = NULL;
	return tickets_revocations(conn, &asked->keys, asked->event, &asked->text);
}

static void on_revocations(void *context, int result)
{
	struct asked *asked = context;

	if (result != 0) {
		asked_drop(asked, result);
		return;
	}
	ush_http_set(asked->request, "Cache-Control", "public, max-age=5");
	ush_http_answer(
		asked->request, 200, "text/plain; charset=utf-8", asked->text, strlen(asked->text));
	asked_free(asked);
}

static void get_revocations(struct ush_http_request *request, void *context)
{
	struct ush_tickets *tickets = context;
	const char *text = ush_http_query(request, "event");
	struct asked *asked;
	char *end = NULL;
	unsigned long event = text != NULL ? strtoul(text, &end, 10) : 0;

	if (text == NULL || *text < '0' || *text > '9' || *end != '\0' || event > UINT32_MAX) {
		ush_http_problem(request, 422, "invalid", NULL, "event: want its number.");
		return;
	}
	if (!has_keys(tickets, request))
		return;
	asked = asked_new(tickets, request);
	asked->event = (uint32_t)event;
	ush_db_run(tickets->core->db, USH_DB_READ, revocations_job, on_revocations, asked);
}

/* ---- keys ---- */

struct new_key {
	struct ush_tickets *tickets;
	struct ush_http_request *request;
	struct ush_who who;
	struct ush_ticket_keys keys;
	json_int_t after_s;
	int id;
	bool retires;
};

static int new_key_job(struct ush_db_conn *conn, void *context)
{
	struct new_key *new = context;
	char number[8];
	int ret = own_keys_note(conn, &new->keys);

	if (ret == 0 && new->retires)
		ret = tickets_sign_anew(conn, &new->keys, (uint8_t) new->id);
	snprintf(number, sizeof(number), "%d", new->id);
	if (ret == 0)
		ush_people_audit(conn, &new->who, "ticket-keys", number,
			new->retires ? "retired" : "a new key");
	return ret;
}

static void new_key_done(void *context, int result)
{
	struct new_key *new = context;

	/* Another process made a key of this number at the same time: gates know that one. */
	if (result == -USH_EEXIST) {
		new->tickets->is_signing = false;
		ush_core_log(USH_CORE_ERROR, "tickets",
			"no tickets from here: the database has another key of this number; copy "
			"ticket-keys.json from where it was made, and start again",
			NULL);
	}
	if (result == 0 && new->retires)
		ush_http_answer_json(new->request, 200, json_pack("{s:i}", "key", new->id));
	else if (result == 0)
		ush_http_answer_json(new->request, 201,
			json_pack("{s:i, s:I}", "key", new->id, "signs_after_s", new->after_s));
	else
		ush_http_problem(
			new->request, 503, "busy", NULL, "The key could not be noted. Ask again.");
	release(new->tickets);
	explicit_bzero(new, sizeof(*new));
	free(new);
}

static struct new_key *note_keys(
	struct ush_tickets *tickets, struct ush_http_request *request, const struct ush_who *who)
{
	struct new_key *new = calloc(1, sizeof(*new));

	USH_ASSERT(new != NULL);
	*new = (struct new_key){
		.tickets = tickets, .request = request, .who = *who, .keys = tickets->keys};
	tickets->under_way++;
	return new;
}

/* A new key, which signs after `after_s`: gates must have fetched it by then. */
static void post_key(struct ush_http_request *request, void *context)
{
	struct ush_tickets *tickets = context;
	const json_t *after = json_object_get(ush_http_json(request), "after_s");
	const struct ush_who *who = ush_who_must(request, 1u << USH_ROLE_OPERATOR);
	struct ush_message message;
	json_int_t seconds = after != NULL ? json_integer_value(after) : 86400;
	struct new_key *new;
	int id;

	if (who == NULL || !has_keys(tickets, request))
		return;
	if ((after != NULL && !json_is_integer(after)) || seconds < 0 || seconds > 30 * 86400) {
		ush_http_problem(request, 422, "invalid", NULL, "after_s: want 0 to 2592000.");
		return;
	}
	id = own_keys_add(
		tickets->path, &tickets->keys, ush_core_now_us() + seconds * 1000000, &message);
	if (id < 0) {
		ush_http_problem(request, 503, "busy", NULL, "The key could not be kept.");
		return;
	}
	ush_core_log(USH_CORE_INFO, "tickets", "a new key", NULL);
	new = note_keys(tickets, request, who);
	new->after_s = seconds;
	new->id = id;
	ush_db_run(tickets->core->db, USH_DB_WRITE, new_key_job, new_key_done, new);
}

/* A key that somebody else may have: from here gates refuse what it signed; tickets that are asked
 * for again are signed with another. */
static void post_retire(struct ush_http_request *request, void *context)
{
	struct ush_tickets *tickets = context;
	const struct ush_who *who = ush_who_must(request, 1u << USH_ROLE_OPERATOR);
	struct ush_message message;
	struct new_key *old;
	uint64_t id;
	int ret;

	if (who == NULL || !has_keys(tickets, request) ||
		!ush_http_param_number(request, "key", UINT8_MAX, &id))
		return;
	ret = own_keys_retire(
		tickets->path, &tickets->keys, (uint8_t)id, ush_core_now_us(), &message);
	if (ret == -USH_ENOENT) {
		ush_http_problem(request, 404, "not_found", NULL, "There is no such key.");
	} else if (ret == -USH_EBUSY) {
		ush_http_problem(request, 409, "last_key", NULL,
			"No other key could sign now. Make one with after_s 0 first.");
	} else if (ret != 0) {
		ush_http_problem(request, 503, "busy", NULL, "The keys could not be kept.");
	} else {
		ush_core_log(USH_CORE_WARN, "tickets", "a key is retired", NULL);
		old = note_keys(tickets, request, who);
		old->retires = true;
		old->id = (int)id;
		ush_db_run(tickets->core->db, USH_DB_WRITE, new_key_job, new_key_done, old);
	}
}

static int open_keys(struct ush_tickets *tickets, struct ush_message *message)
{
	int ret;

	if (snprintf(tickets->path, sizeof(tickets->path), "%s/ticket-keys.json",
		    tickets->core->state_dir) >= (int)sizeof(tickets->path)) {
		ush_message_set(message, "the state directory's name is too long");
		return -USH_EINVAL;
	}
	ret = own_keys_open(tickets->core, tickets->path, &tickets->keys, message);
	tickets->is_signing = ret == 1;
	if (ret == 0)
		ush_core_log(USH_CORE_WARN, "tickets", "no tickets from here", "why", message->text,
			NULL);
	return ret < 0 ? ret : 0;
}

/* ---- life ---- */

int ush_tickets_open(
	struct ush_tickets **tickets_out, const struct ush_core *core, struct ush_message *message)
{
	static const struct ush_http_route routes[] = {
		{"GET", "/v1/orders/{order}/tickets", get_list, 0, 0},
		{"GET", "/v1/orders/{order}/tickets.html", get_page, 0, 0},
		{"GET", "/v1/orders/{order}/receipt", get_receipt, 0, 0},
		{"GET", "/v1/orders/{order}/receipt.html", get_receipt_page, 0, 0},
		{"GET", "/v1/tickets/{ticket}.png", get_picture, 0, 0},
		{"GET", "/v1/gate/keys", get_keys, 0, 0},
		{"GET", "/v1/gate/revocations", get_revocations, 0, 0},
		{0},
	};
	static const struct ush_http_route writes[] = {
		{"POST", "/v1/admin/ticket-keys", post_key, 0, 4096},
		{"POST", "/v1/admin/ticket-keys/{key}/retire", post_retire, 0, 4096},
		{0},
	};
	static const struct timeval every = {.tv_usec = LOOK_MS * 1000};
	struct ush_tickets *tickets = calloc(1, sizeof(*tickets));
	int ret;

	USH_ASSERT(tickets != NULL);
	tickets->core = core;
	tickets->under_way = 1;
	ret = open_keys(tickets, message);
	if (ret != 0) {
		release(tickets);
		return ret;
	}
	tickets_keep_open();
	ush_http_routes_add(core->http, routes, tickets);
	if (!core->read_only)
		ush_http_routes_add(core->http, writes, tickets);
	if (!core->read_only && tickets->is_signing) {
		tickets->timer = event_new(core->base, -1, EV_PERSIST, on_timer, tickets);
		USH_ASSERT(tickets->timer != NULL);
		event_add(tickets->timer, &every);
	}
	*tickets_out = tickets;
	return 0;
}

void ush_tickets_close(struct ush_tickets *tickets)
{
	if (tickets->timer != NULL)
		event_free(tickets->timer);
	tickets->closed = true;
	release(tickets);
}
