/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change that sold the order says who bought and what all of it cost; its items say what each
 * seat cost; each refund is a change of its own. So a receipt stays true when the tickets are
 * given to somebody else, and lives as long as changes are kept.
 *
 * Failure modes: an event that the catalogue lost is "Your event", seats then have numbers only.
 */
#include "tickets/receipt.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mail.h"
#include "people/people.h"

#define PAGE_BYTES (512u * 1024)
#define LINE_BYTES 1024u

/* ---- reading ---- */

static int64_t number_of(const json_t *body, const char *name)
{
	return json_integer_value(json_object_get(body, name));
}

static void take_sale(struct tickets_receipt *out, const json_t *body)
{
	const char *currency = json_string_value(json_object_get(body, "currency"));

	out->amount = number_of(body, "amount");
	out->fee = number_of(body, "fee");
	out->total = number_of(body, "total");
	snprintf(out->currency, sizeof(out->currency), "%s", currency == NULL ? "" : currency);
}

static void take_refund(struct tickets_receipt *out, const json_t *body, int64_t time_us)
{
	struct receipt_refund *refund = &out->refund[out->refund_count];

	if (out->refund_count == RECEIPT_REFUNDS_MAX)
		return;
	refund->time_us = time_us;
	refund->amount = number_of(body, "amount") + number_of(body, "fee");
	refund->seats = (int64_t)json_array_size(json_object_get(body, "seats"));
	out->refunded += refund->amount;
	out->refund_count++;
}

/* Ids of holds return after long: what was before the newest sale is another order's. */
static int read_changes(struct ush_db_conn *conn, int64_t through, struct tickets_receipt *out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT time_us, kind, event, \"user\", body FROM changes WHERE hold = ? AND"
		" number <= ? AND kind IN ('order.sold', 'order.refunded') ORDER BY number",
		"ii", (int64_t)out->order, through);
	int found = 0, ret = 0;

	while (ush_db_next(rows)) {
		bool is_sale = strcmp(ush_db_text(rows, 1), "order.sold") == 0;
		json_t *body = json_loads(ush_db_text(rows, 4), 0, NULL);

		if (body == NULL)
			ret = -USH_ECORRUPT;
		if (is_sale) {
			found = 1;
			out->sold_us = ush_db_int(rows, 0);
			out->event = (uint32_t)ush_db_int(rows, 2);
			out->user = (uint64_t)ush_db_int(rows, 3);
			out->refund_count = 0;
			out->refunded = 0;
			take_sale(out, body);
		} else {
			take_refund(out, body, ush_db_int(rows, 0));
		}
		json_decref(body);
	}
	ush_db_end(rows);
	return ret != 0 ? ret : found;
}

static void read_items(struct ush_db_conn *conn, struct tickets_receipt *out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT \"row\", \"bit\", price, fee, state FROM orders_items WHERE hold = ?"
		" ORDER BY \"row\", \"bit\" LIMIT 512",
		"i", (int64_t)out->order);

	while (out->item_count < TICKETS_SEATS_MAX && ush_db_next(rows)) {
		struct tickets_seat *seat = &out->seat[out->item_count];

		seat->ticket.row = (uint32_t)ush_db_int(rows, 0);
		seat->ticket.bit = (uint8_t)ush_db_int(rows, 1);
		out->item[out->item_count++] = (struct receipt_item){
			.price = ush_db_int(rows, 2),
			.fee = ush_db_int(rows, 3),
			.is_refunded = ush_db_int(rows, 4) == 2,
		};
	}
	ush_db_end(rows);
}

int tickets_receipt_of(
	struct ush_db_conn *conn, uint64_t order, int64_t through, struct tickets_receipt *out)
{
	int ret, error;

	memset(out, 0, sizeof(*out));
	out->order = order;
	ret = read_changes(conn, through, out);
	if (ret == 1) {
		read_items(conn, out);
		tickets_event_of(conn, out->event, &out->about, out->seat, out->item_count);
	}
	error = ush_db_error(conn, NULL);
	return error != 0 ? error : ret;
}

/* ---- telling ---- */

static void iso(int64_t us, char text[32])
{
	tickets_time(us, text); /* "2026-12-24 19:30 UTC" */
	memcpy(text + 10, "T", 1);
	memcpy(text + 16, ":00Z", 5);
}

json_t *tickets_receipt_json(const struct tickets_receipt *receipt)
{
	json_t *items = json_array(), *refunds = json_array();
	char order[24], at[32], starts[32];

	for (uint32_t i = 0; i < receipt->item_count; i++) {
		const struct receipt_item *item = &receipt->item[i];
		const struct tickets_seat *seat = &receipt->seat[i];

		json_array_append_new(items,
			json_pack("{s:s, s:[I,I], s:I, s:I, s:s}", "label", seat->label, "seat",
				(json_int_t)seat->ticket.row, (json_int_t)seat->ticket.bit, "price",
				(json_int_t)item->price, "fee", (json_int_t)item->fee, "state",
				item->is_refunded ? "refunded" : "sold"));
	}
	for (uint32_t i = 0; i < receipt->refund_count; i++) {
		const struct receipt_refund *refund = &receipt->refund[i];

		iso(refund->time_us, at);
		json_array_append_new(refunds,
			json_pack("{s:s, s:I, s:I}", "at", at, "amount", (json_int_t)refund->amount,
				"seats", (json_int_t)refund->seats));
	}
	snprintf(order, sizeof(order), "%" PRIu64, receipt->order);
	iso(receipt->sold_us, at);
	iso(receipt->about.starts_us, starts);
	return json_pack(
		"{s:s, s:s, s:{s:I, s:s, s:s, s:s}, s:s, s:o, s:I, s:I, s:I, s:o, s:I, s:I}",
		"order", order, "sold_at", at, "event", "event", (json_int_t)receipt->event, "name",
		receipt->about.name, "place", receipt->about.place, "starts", starts, "currency",
		receipt->currency, "items", items, "amount", (json_int_t)receipt->amount, "fee",
		(json_int_t)receipt->fee, "total", (json_int_t)receipt->total, "refunds", refunds,
		"refunded", (json_int_t)receipt->refunded, "paid",
		(json_int_t)(receipt->total - receipt->refunded));
}

struct page {
	char *text;
	size_t at;
};

static void add(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct page *page, const char *format, ...)
{
	va_list list;
	int bytes;

	/* A line fits whole or is left out. */
	if (PAGE_BYTES - page->at < 2 * LINE_BYTES)
		return;
	va_start(list, format);
	bytes = vsnprintf(page->text + page->at, PAGE_BYTES - page->at, format, list);
	va_end(list);
	USH_ASSERT(bytes >= 0);
	page->at += ush_min64((uint64_t)bytes, PAGE_BYTES - page->at - 1);
}

static void add_sum(struct page *page, const char *name, int64_t minor, const char *currency)
{
	char money[TICKETS_MONEY_BYTES];

	tickets_money(minor, currency, money);
	add(page, "<tr><th colspan=\"2\" scope=\"row\">%s</th><td>%s</td></tr>\n", name, money);
}

static void add_items(struct page *page, const struct tickets_receipt *receipt)
{
	char label[600], price[TICKETS_MONEY_BYTES], fee[TICKETS_MONEY_BYTES];

	for (uint32_t i = 0; i < receipt->item_count; i++) {
		const struct receipt_item *item = &receipt->item[i];

		tickets_html(receipt->seat[i].label, label, sizeof(label));
		tickets_money(item->price, receipt->currency, price);
		tickets_money(item->fee, receipt->currency, fee);
		add(page, "<tr><td>%s%s</td><td>%s</td><td>%s</td></tr>\n", label,
			item->is_refunded ? " (refunded)" : "", fee, price);
	}
}

char *tickets_receipt_page(const struct tickets_receipt *receipt, size_t *bytes)
{
	struct page page = {.text = malloc(PAGE_BYTES)};
	char name[600], place[600], starts[32], at[32], line[80];

	USH_ASSERT(page.text != NULL);
	tickets_html(receipt->about.name, name, sizeof(name));
	tickets_html(receipt->about.place, place, sizeof(place));
	tickets_time(receipt->about.starts_us, starts);
	tickets_time(receipt->sold_us, at);
	add(&page,
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
		"content=\"width=device-width\"><title>Receipt: %s</title><style>"
		"body{font:16px/1.4 sans-serif;margin:2em;max-width:45em}table{border-collapse:"
		"collapse;width:100%%}th,td{text-align:left;padding:.3em;border-bottom:1px solid "
		"#888}td:last-child,td:nth-child(2),th:nth-child(n+2){text-align:right}</style>"
		"<body><h1>Receipt</h1><p>Order %" PRIu64 ", bought %s<br>%s<br>%s, %s</p>\n"
		"<table><thead><tr><th scope=\"col\">Seat</th><th scope=\"col\">Fee</th><th "
		"scope=\"col\">Price</th></tr></thead><tbody>\n",
		name, receipt->order, at, name, place, starts);
	add_items(&page, receipt);
	add_sum(&page, "Seats", receipt->amount, receipt->currency);
	add_sum(&page, "Fees", receipt->fee, receipt->currency);
	add_sum(&page, "Total", receipt->total, receipt->currency);
	for (uint32_t i = 0; i < receipt->refund_count; i++) {
		tickets_time(receipt->refund[i].time_us, at);
		snprintf(line, sizeof(line), "Given back %s, seats: %lld", at,
			(long long)receipt->refund[i].seats);
		add_sum(&page, line, -receipt->refund[i].amount, receipt->currency);
	}
	if (receipt->refund_count > 0)
		add_sum(&page, "Paid after refunds", receipt->total - receipt->refunded,
			receipt->currency);
	add(&page, "</tbody></table></body></html>\n");
	*bytes = page.at;
	return page.text;
}

/* ---- the mail about a refund ---- */

static int put_refund_mail(struct ush_db_conn *conn, struct tickets_step *step,
	const struct tickets_receipt *receipt, int64_t change, const char *to)
{
	const struct receipt_refund *last = &receipt->refund[receipt->refund_count - 1];
	char key[48], subject[300], text[2048], html[2048], name[600];
	char money[TICKETS_MONEY_BYTES], left[TICKETS_MONEY_BYTES];
	int ret;

	tickets_money(last->amount, receipt->currency, money);
	tickets_money(receipt->total - receipt->refunded, receipt->currency, left);
	tickets_html(receipt->about.name, name, sizeof(name));
	snprintf(key, sizeof(key), "refund %" PRId64, change);
	snprintf(subject, sizeof(subject), "Refunded: %.255s", receipt->about.name);
	snprintf(text, sizeof(text),
		"%s\n\n%s for %lld of the seats of order %" PRIu64
		" are given back the way they were paid."
		"\nTheir tickets let nobody in any more. Paid after this: %s.\n\nThe receipt:\n"
		"%s/v1/orders/%" PRIu64 "/receipt.html\n",
		receipt->about.name, money, (long long)last->seats, receipt->order, left,
		step->core->origin, receipt->order);
	snprintf(html, sizeof(html),
		"<h1>%s</h1><p>%s for %lld of the seats of order %" PRIu64
		" are given back the way "
		"they were paid. Their tickets let nobody in any more. Paid after this: %s.</p>"
		"<p><a href=\"%s/v1/orders/%" PRIu64 "/receipt.html\">The receipt</a></p>\n",
		name, money, (long long)last->seats, receipt->order, left, step->core->origin,
		receipt->order);
	ret = ush_mail_put(conn, key, to, subject, text, html, NULL, 0);
	step->mails += ret == 0;
	return ret == -USH_EINVAL || ret == -USH_EFULL ? 0 : ret;
}

int tickets_refund_mail(
	struct ush_db_conn *conn, struct tickets_step *step, uint64_t order, int64_t change)
{
	struct tickets_receipt *receipt = malloc(sizeof(*receipt));
	int ret;

	USH_ASSERT(receipt != NULL);
	ret = tickets_receipt_of(conn, order, change, receipt);
	if (ret == 1 && receipt->refund_count > 0) {
		char *to = ush_people_mail_of(conn, receipt->user);

		ret = to == NULL ? 0 : put_refund_mail(conn, step, receipt, change, to);
		free(to);
	}
	free(receipt);
	return ret < 0 ? ret : 0;
}
