/* SPDX-License-Identifier: Apache-2.0 */
#include "tickets/offer_mail.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "mail/mail.h"
#include "orders/orders.h"
#include "people/people.h"
#include "tickets/money.h"

#define SEATS_MAX 8u /* of one entry of a wait-list */

/* ret: how many; their labels are to be filled. */
static uint32_t read_seats(const json_t *list, struct tickets_seat seats[SEATS_MAX])
{
	const json_t *seat;
	uint32_t count = 0;
	size_t i;

	json_array_foreach(list, i, seat)
	{
		if (count == SEATS_MAX)
			break;
		seats[count].ticket.row = (uint32_t)json_integer_value(json_array_get(seat, 0));
		seats[count++].ticket.bit = (uint8_t)json_integer_value(json_array_get(seat, 1));
	}
	return count;
}

static int put(struct ush_db_conn *conn, struct tickets_step *step,
	const struct ush_orders_hold *hold, const struct tickets_seat *seats, uint32_t count,
	const struct tickets_event *about, const char *to, int64_t change)
{
	char key[48], subject[300], list[SEATS_MAX * (TICKETS_LABEL_BYTES + 4)] = "";
	char text[sizeof(list) + 1024], starts[32], until[32], total[TICKETS_MONEY_BYTES];
	size_t at = 0;
	int ret;

	for (uint32_t i = 0; i < count; i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "  %s\n", seats[i].label);
	tickets_time(about->starts_us, starts);
	tickets_time(hold->deadline_us, until);
	tickets_money(hold->total, hold->currency, total);
	snprintf(key, sizeof(key), "offer %" PRId64, change);
	snprintf(subject, sizeof(subject), "Seats for you: %.255s", about->name);
	snprintf(text, sizeof(text),
		"%s\n%s\n%s\n\nYou waited, and these are kept for you until %s:\n\n%s\nTotal %s. "
		"Pay for them before that, or the next in line gets them:\n%s/v1/holds/%" PRIu64
		"\n",
		about->name, about->place, starts, until, list, total, step->core->origin,
		hold->hold);
	ret = ush_mail_put(conn, key, to, subject, text, NULL, NULL, 0);
	step->mails += ret == 0;
	return ret == -USH_EINVAL || ret == -USH_EFULL || ret == 1 ? 0 : ret;
}

int tickets_offer_mail(struct ush_db_conn *conn, struct tickets_step *step, uint64_t hold,
	uint64_t user, uint32_t event, int64_t change, const char *body)
{
	struct tickets_seat *seats = calloc(SEATS_MAX, sizeof(*seats));
	struct ush_orders_hold found;
	struct tickets_event about;
	json_t *said = json_loads(body, 0, NULL);
	char *to = NULL;
	uint32_t count;
	int ret = ush_orders_find(conn, hold, &found);

	USH_ASSERT(seats != NULL);
	/* What was taken, given back or too late meanwhile is no news. */
	if (ret == 1 && found.user == user && found.state == USH_HOLD_STATE_HELD &&
		found.deadline_us > ush_core_now_us())
		to = ush_people_mail_of(conn, user);
	if (to != NULL) {
		count = read_seats(json_object_get(said, "seats"), seats);
		tickets_event_of(conn, event, &about, seats, count);
		ret = put(conn, step, &found, seats, count, &about, to, change);
	}
	json_decref(said);
	free(to);
	free(seats);
	return ret < 0 ? ret : 0;
}
