/* SPDX-License-Identifier: Apache-2.0 */
/* The mail with tickets. Its key is the change that caused it, so it is sent once however often
 * that is gone through. */
#include "tickets/ticket_mail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mail/mail.h"
#include "people/people.h"
#include "tickets/qr.h"
#include "tickets/receipt.h"

#define INLINE_MAX 16u /* QR codes in one mail; more are behind the link */
#define TEXT_BYTES 65536u
#define QR_SCALE 5u

struct letter {
	char *text;
	char *html;
	size_t text_at, html_at;
	char calendar[1200];
	struct ush_mail_part parts[INLINE_MAX + 1];
	char ids[INLINE_MAX][64];
	uint32_t count;
};

static void add(char *to, size_t *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void add(char *to, size_t *at, const char *format, ...)
{
	va_list list;
	int bytes;

	va_start(list, format);
	bytes = vsnprintf(to + *at, TEXT_BYTES - *at, format, list);
	va_end(list);
	USH_ASSERT(bytes >= 0);
	*at += ush_min64((uint64_t)bytes, TEXT_BYTES - *at - 1);
}

static void stamp(int64_t us, char text[24])
{
	const time_t second = (time_t)(us / 1000000);
	struct tm parts;

	gmtime_r(&second, &parts);
	strftime(text, 24, "%Y%m%dT%H%M%SZ", &parts);
}

/* RFC 5545: commas, semicolons and backslashes are escaped; line breaks cannot be in a name. */
static void calendar_text(const char *text, char *out, size_t bytes)
{
	size_t at = 0;

	for (; *text != '\0' && at + 3 < bytes; text++) {
		if (*text == ',' || *text == ';' || *text == '\\')
			out[at++] = '\\';
		if ((unsigned char)*text >= ' ')
			out[at++] = *text;
	}
	out[at] = '\0';
}

static void write_calendar(
	struct letter *letter, const struct tickets_event *event, uint64_t hold, const char *origin)
{
	char starts[24], made[24], name[300], place[300];

	stamp(event->starts_us, starts);
	stamp(ush_core_now_us(), made);
	calendar_text(event->name, name, sizeof(name));
	calendar_text(event->place, place, sizeof(place));
	snprintf(letter->calendar, sizeof(letter->calendar),
		"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Usher//Tickets//EN\r\nMETHOD:PUBLISH\r\n"
		"BEGIN:VEVENT\r\nUID:order-%" PRIu64 "@%.100s\r\nDTSTAMP:%s\r\nDTSTART:%s\r\n"
		"SUMMARY:%.200s\r\nLOCATION:%.200s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		hold, strstr(origin, "://") + 3, made, starts, name, place);
	letter->parts[letter->count++] =
		(struct ush_mail_part){.type = "text/calendar; charset=utf-8; method=PUBLISH",
			.name = "event.ics",
			.data = letter->calendar,
			.bytes = strlen(letter->calendar)};
}

static int add_ticket(struct letter *letter, const struct tickets_step *step,
	const struct tickets_seat *seat, const char *origin)
{
	char code[USH_TICKET_CODE_CHARS + 1], shown[2 * TICKETS_LABEL_BYTES];
	struct ush_mail_part *part = &letter->parts[letter->count];
	char *id = letter->ids[letter->count];
	uint8_t *png = NULL;
	int ret;

	tickets_html(seat->label, shown, sizeof(shown));
	add(letter->text, &letter->text_at, "  %s\n", seat->label);
	if (letter->count >= INLINE_MAX) {
		add(letter->html, &letter->html_at, "<p>%s</p>\n", shown);
		return 0;
	}
	ret = tickets_code(&step->keys, seat, code);
	if (ret == 0)
		ret = ush_qr_png(code, QR_SCALE, &png, &part->bytes);
	if (ret != 0)
		return ret;
	snprintf(id, sizeof(letter->ids[0]), "t%u-%u-%u@%.32s", seat->ticket.row, seat->ticket.bit,
		seat->ticket.serial, strstr(origin, "://") + 3);
	/* A port's colon is none of an id's. */
	for (char *c = id; *c != '\0'; c++)
		if (*c == ':' || *c == '/')
			*c = '.';
	part->type = "image/png";
	part->id = id;
	part->data = png;
	add(letter->html, &letter->html_at,
		"<p><img src=\"cid:%s\" alt=\"ticket\" width=\"245\" height=\"245\"><br>%s</p>\n",
		id, shown);
	letter->count++;
	return 0;
}

/* What it cost, for who paid: those to whom tickets are given are not told. */
static void add_receipt(struct ush_db_conn *conn, struct letter *letter, uint64_t hold,
	uint64_t user, const char *origin)
{
	struct tickets_receipt *receipt = malloc(sizeof(*receipt));
	char total[TICKETS_MONEY_BYTES], fee[TICKETS_MONEY_BYTES];

	USH_ASSERT(receipt != NULL);
	if (tickets_receipt_of(conn, hold, INT64_MAX, receipt) == 1 && receipt->user == user) {
		tickets_money(receipt->total, receipt->currency, total);
		tickets_money(receipt->fee, receipt->currency, fee);
		add(letter->text, &letter->text_at,
			"\nTotal %s, fees of %s within. The receipt:\n%s/v1/orders/%" PRIu64
			"/receipt.html\n",
			total, fee, origin, hold);
		add(letter->html, &letter->html_at,
			"<p>Total %s, fees of %s within. <a href=\"%s/v1/orders/%" PRIu64
			"/receipt.html\">The receipt</a></p>\n",
			total, fee, origin, hold);
	}
	free(receipt);
}

static int put(struct ush_db_conn *conn, struct letter *letter, const struct tickets_event *event,
	const char *to, int64_t change)
{
	char key[48], subject[300];
	int ret;

	snprintf(key, sizeof(key), "tickets %" PRId64, change);
	snprintf(subject, sizeof(subject), "Your tickets: %.255s", event->name);
	ret = ush_mail_put(
		conn, key, to, subject, letter->text, letter->html, letter->parts, letter->count);
	/* What no mail can carry is no reason to stop: the tickets are behind the link. */
	return ret == -USH_EINVAL || ret == -USH_EFULL ? 1 : ret;
}

int tickets_mail(struct ush_db_conn *conn, struct tickets_step *step, uint64_t hold, uint64_t user,
	uint32_t event, int64_t change)
{
	struct tickets_seat *seats = calloc(TICKETS_SEATS_MAX, sizeof(*seats));
	struct letter *letter = calloc(1, sizeof(*letter));
	char *to = ush_people_mail_of(conn, user), name[600], starts[32];
	const char *origin = step->core->origin;
	struct tickets_event about;
	int count, ret = 0;

	USH_ASSERT(seats != NULL && letter != NULL);
	letter->text = calloc(1, TEXT_BYTES);
	letter->html = calloc(1, TEXT_BYTES);
	USH_ASSERT(letter->text != NULL && letter->html != NULL);
	count = to == NULL ? 0 : tickets_of_order(conn, hold, seats);
	if (count > 0) {
		tickets_event_of(conn, event, &about, seats, (uint32_t)count);
		tickets_time(about.starts_us, starts);
		tickets_html(about.name, name, sizeof(name));
		add(letter->text, &letter->text_at,
			"%s\n%s\n%s\n\nOrder %" PRIu64 ", %d ticket%s:\n\n", about.name,
			about.place, starts, hold, count, count == 1 ? "" : "s");
		add(letter->html, &letter->html_at,
			"<h1>%s</h1><p>%s</p><p>Order %" PRIu64 ", %d ticket%s</p>\n", name, starts,
			hold, count, count == 1 ? "" : "s");
		for (int i = 0; i < count && ret == 0; i++)
			ret = add_ticket(letter, step, &seats[i], origin);
		add(letter->text, &letter->text_at,
			"\nShow the codes at the gate, or print this:\n%s/v1/orders/%" PRIu64
			"/tickets.html\n",
			origin, hold);
		add_receipt(conn, letter, hold, user, origin);
		write_calendar(letter, &about, hold, origin);
		if (ret == 0)
			ret = put(conn, letter, &about, to, change);
		step->mails += ret == 0;
	}
	for (uint32_t i = 0; i < letter->count; i++)
		if (letter->parts[i].id != NULL)
			free((void *)(uintptr_t)letter->parts[i].data);
	free(letter->text);
	free(letter->html);
	free(letter);
	free(seats);
	free(to);
	return count < 0 ? count : ret < 0 ? ret : 0;
}
