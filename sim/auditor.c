/* SPDX-License-Identifier: Apache-2.0 */
#include "auditor.h"
#include "tools/ledger.h"

static struct ledger book;
static bool open;

void auditor_begin(void)
{
	if (open)
		ledger_close(&book);
	open = ledger_open(&book) == 0;
	USH_ASSERT(open);
}

const char *auditor_book(const struct ush_record *records, uint32_t count)
{
	USH_ASSERT(ledger_book(&book, records, count) == 0);
	return book.contradictions != 0 || book.double_sold != 0 ? book.first_fault.text : NULL;
}

const char *auditor_compare(const struct ush_engine_audit *audit)
{
	if (audit->held_seats != book.seats_held || audit->sold_seats != book.seats_sold)
		return "seats";
	if (audit->held_amount != book.amount_held || audit->sold_amount != book.amount_sold)
		return "amounts";
	return audit->seat_seconds != book.seat_seconds ? "the time of holds" : NULL;
}
