/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's book of wait-lists: who waits, in the order of joining, and which seats are set
 * aside. It does not know tiers of seats; that nobody was served before his turn it knows from what
 * those before him wait for.
 */
#include <stdlib.h>

#include "tools/ledger.h"

static struct ledger_list *list_of(struct ledger *ledger, uint32_t event)
{
	if (event > USH_EVENT_ID_MAX)
		return NULL;
	if (ledger->lists == NULL)
		ledger->lists = calloc(USH_EVENT_ID_MAX + 1u, sizeof(*ledger->lists));
	return ledger->lists == NULL ? NULL : &ledger->lists[event];
}

static uint64_t *aside_of(struct ledger_list *list, uint16_t row)
{
	if (list->aside == NULL)
		list->aside = calloc(USH_EVENT_ROWS_MAX, sizeof(*list->aside));
	return list->aside == NULL ? NULL : &list->aside[row];
}

static int join(struct ledger *ledger, struct ledger_list *list, const struct ush_record *r)
{
	for (size_t i = list->first; i < list->count; i++) {
		if (!list->waits[i].gone && list->waits[i].user == r->user)
			ledger_fault(ledger, r, "joins a list twice");
	}
	if (list->count == list->capacity) {
		size_t capacity = list->capacity * 2 + 64;
		struct ledger_wait *waits = realloc(list->waits, capacity * sizeof(*waits));

		if (waits == NULL)
			return -USH_ENOMEM;
		list->waits = waits;
		list->capacity = capacity;
	}
	list->waits[list->count++] =
		(struct ledger_wait){.user = r->user, .seats = (uint8_t)r->mask, .tier = r->row};
	return 0;
}

/* in: served: by an offer, which must be his turn. */
static void take_off(struct ledger *ledger, struct ledger_list *list, const struct ush_record *r,
	uint32_t served)
{
	size_t at = list->first;

	while (at < list->count && (list->waits[at].gone || list->waits[at].user != r->user))
		at++;
	if (at == list->count) {
		ledger_fault(ledger, r, "takes a user off a list who is not on it");
		return;
	}
	if (served != 0 && served != list->waits[at].seats)
		ledger_fault(ledger, r, "offers another number of seats than was waited for");
	for (size_t i = list->first; served != 0 && !list->loose && i < at; i++) {
		const struct ledger_wait *before = &list->waits[i];

		if (!before->gone && (before->tier == USH_WAIT_TIER_ANY ||
					     list->waits[at].tier == USH_WAIT_TIER_ANY ||
					     before->tier == list->waits[at].tier)) {
			ledger_fault(ledger, r, "offers seats out of turn");
			break;
		}
	}
	list->waits[at].gone = true;
	while (list->first < list->count && list->waits[list->first].gone)
		list->first++;
}

static int open_seats(struct ledger *ledger, struct ledger_list *list,
	const struct ush_record *records, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t *aside = aside_of(list, records[i].row);

		if (aside == NULL)
			return -USH_ENOMEM;
		if ((records[i].mask & ~*aside) != 0)
			ledger_fault(ledger, &records[i], "frees seats that were not set aside");
		*aside &= ~records[i].mask;
	}
	return 0;
}

int ledger_book_offer(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	struct ledger_list *list = list_of(ledger, records[0].event);
	uint32_t seats = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t *aside = list == NULL ? NULL : aside_of(list, records[i].row);

		if (aside == NULL)
			return -USH_ENOMEM;
		*aside &= ~records[i].mask;
		seats += ush_popcount64(records[i].mask);
	}
	take_off(ledger, list, &records[0], seats);
	return 0;
}

int ledger_book_wait(struct ledger *ledger, const struct ush_record *records, uint32_t count)
{
	struct ledger_list *list = list_of(ledger, records[0].event);

	if (list == NULL)
		return -USH_ENOMEM;
	switch (records[0].type) {
	case USH_RECORD_TYPE_WAIT_JOIN:
		return join(ledger, list, &records[0]);
	case USH_RECORD_TYPE_WAIT_LEAVE:
		take_off(ledger, list, &records[0], 0);
		return 0;
	case USH_RECORD_TYPE_WAIT_OPEN:
		return open_seats(ledger, list, records, count);
	default:
		list->loose = records[0].state != 0;
		return 0;
	}
}

int ledger_book_keep(struct ledger *ledger, const struct ush_record *r)
{
	struct ledger_list *list;
	uint64_t *aside;

	if (r->state != USH_KEEP_WAIT_LIST)
		return 0;
	list = list_of(ledger, r->event);
	aside = list == NULL ? NULL : aside_of(list, r->row);
	if (aside == NULL)
		return -USH_ENOMEM;
	if ((*aside & r->mask) != 0)
		ledger_fault(ledger, r, "sets seats aside that are");
	*aside |= r->mask;
	return 0;
}

int ledger_book_added(struct ledger *ledger, uint32_t event, uint32_t first, uint32_t count)
{
	struct ledger_list *list = list_of(ledger, event);

	/* Which of its 64 places are seats, and which are off sale, it does not know: all of them
	 * are aside until a record says otherwise. */
	for (uint32_t i = 0; i < count; i++) {
		uint64_t *aside = list == NULL ? NULL : aside_of(list, (uint16_t)(first + i));

		if (aside == NULL)
			return -USH_ENOMEM;
		*aside = UINT64_MAX;
	}
	return 0;
}

void ledger_not_aside(struct ledger *ledger, const struct ush_record *r)
{
	if (ledger_is_aside(ledger, r))
		ledger->lists[r->event].aside[r->row] &= ~r->mask;
}

bool ledger_is_aside(const struct ledger *ledger, const struct ush_record *r)
{
	return ledger->lists != NULL && r->event <= USH_EVENT_ID_MAX &&
	       ledger->lists[r->event].aside != NULL &&
	       (ledger->lists[r->event].aside[r->row] & r->mask) != 0;
}

void ledger_close_waits(struct ledger *ledger)
{
	for (uint32_t i = 0; ledger->lists != NULL && i <= USH_EVENT_ID_MAX; i++) {
		free(ledger->lists[i].waits);
		free(ledger->lists[i].aside);
	}
	free(ledger->lists);
}
