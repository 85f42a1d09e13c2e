/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BOOKINGS: a page of an event's bookings, while the sale goes on.
 *
 * A hold keeps its first line for its whole life, whatever becomes of its state, owner, seats or
 * deadline. So the lines in their order are an order that does not change, and a cursor is the next
 * line: a booking that is there from the first page on is met once, where its line is passed. Lines
 * are dealt out again only after a booking has ended.
 *
 * Happy path: a line in use is filtered by what may be read at any time (word, event, user), its
 * user's lock is taken, and under it, where nobody changes the hold, everything is read again.
 *
 * Failure modes: the hold, or its user, is being changed by another loop at this moment: the page
 * ends before it, and the next begins with it. Passing it would lose a booking that only changes
 * hands or state.
 */
#include <string.h>

#include "loop/internal.h"

/* Lines looked at in one page, 64 bytes each in order: some 10 us. src: guess */
#define LINES 1024u
/* Entries of one page; each hold costs a look at its user's line. */
#define ENTRIES 128u

#define ARG_CURSOR 0xffffffffull
#define ARG_REFUND (1ull << 32)

struct page {
	struct ush_loop *loop;
	uint32_t event;
	bool refund;
	uint8_t *at;
	uint32_t entries;
	uint32_t holds;
};

static bool is_wanted(const struct page *page, uint64_t word)
{
	switch (ush_hold_word_state(word)) {
	case USH_HOLD_STATE_SOLD:
	case USH_HOLD_STATE_REFUNDING:
	case USH_HOLD_STATE_PAYING:
		return true;
	case USH_HOLD_STATE_HELD:
		return !page->refund;
	default:
		return false;
	}
}

/* The user's lock is held: nobody changes the hold. */
static void put_hold(struct page *page, uint32_t index, uint64_t word)
{
	const struct ush_holds *holds = &page->loop->engine->holds;
	const struct ush_hold *first = ush_holds_line(holds, index);
	uint64_t id = ush_hold_id(holds, index, ush_hold_word_generation(word));
	uint8_t legs = 0, leg = 0;

	for (const struct ush_hold *line = first;; line = ush_holds_line(holds, line->next)) {
		if (line->mask != 0)
			legs++;
		if (line->next == USH_HOLD_NONE)
			break;
	}
	for (const struct ush_hold *line = first;; line = ush_holds_line(holds, line->next)) {
		struct ush_booking entry = {
			.hold = id,
			.user = first->user,
			.mask = line->mask,
			.deadline_ns = first->deadline_ns,
			.amount = line->amount,
			.row = line->row,
			.version = ush_hold_word_version(word),
			.state = (uint8_t)ush_hold_word_state(word),
			.leg = leg,
			.legs = legs,
		};

		/* A leg of which all was given back stays in the chain. */
		if (line->mask != 0) {
			memcpy(page->at + page->entries * sizeof(entry), &entry, sizeof(entry));
			page->entries++;
			leg++;
		}
		if (line->next == USH_HOLD_NONE)
			break;
	}
	page->holds++;
}

/* ret: false: the page ends before this line. */
static bool look(struct page *page, uint32_t index)
{
	struct ush_engine *engine = page->loop->engine;
	struct ush_hold *hold = ush_holds_line(&engine->holds, index);
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_acquire), hash, user_id;
	struct ush_user *user;

	/* NEW is nobody's booking yet. */
	if (ush_hold_word_state(word) != USH_HOLD_STATE_BUSY && !is_wanted(page, word))
		return true;
	/* Relaxed: what is read here is read again under the lock. */
	if (__atomic_load_n(&hold->event, __ATOMIC_RELAXED) != page->event)
		return true;
	user_id = __atomic_load_n(&hold->user, __ATOMIC_RELAXED);
	hash = ush_user_hash(&engine->users, user_id, page->event);
	/* Absent: the line has ended meanwhile and is filled anew. */
	if (ush_user_find(&engine->users, hash, user_id, page->event, page->loop->index, 0,
		    &user) != USH_USER_OK)
		return false;
	word = atomic_load_explicit(&hold->word, memory_order_acquire);
	/* BUSY, or of another user: it is being changed. */
	if (ush_hold_word_state(word) == USH_HOLD_STATE_BUSY ||
		__atomic_load_n(&hold->user, __ATOMIC_RELAXED) != user_id ||
		__atomic_load_n(&hold->event, __ATOMIC_RELAXED) != page->event) {
		ush_user_unlock(user);
		return false;
	}
	/* Also past its deadline, until its record says so: another loop, whose turn began before
	 * it, may still extend the hold. */
	if (is_wanted(page, word))
		put_hold(page, index, word);
	ush_user_unlock(user);
	return true;
}

/* ret: the line where the next page begins; 0: there are no more. */
static uint32_t fill(struct page *page, uint32_t index, uint32_t entries_max)
{
	uint32_t count = page->loop->engine->holds.count, end;

	index = index == USH_HOLD_NONE ? 1 : index;
	if (index >= count)
		return 0;
	end = count - index < LINES ? count : index + LINES;
	while (index < end && page->entries + USH_LEG_COUNT_MAX <= entries_max) {
		if (!look(page, index))
			return index;
		index++;
	}
	return index < count ? index : 0;
}

void decide_bookings(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	const uint32_t head = USH_REPLY_BYTES + sizeof(struct ush_extension_header);
	struct ush_extension_header header = {.type = USH_EXTENSION_BOOKINGS};
	struct page page = {
		.loop = loop, .event = request->event, .refund = (request->arg & ARG_REFUND) != 0};
	struct ush_reply reply;
	uint32_t room;

	if (ush_inventory_event(&loop->engine->inventory, request->event) == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if ((request->arg & ~(ARG_CURSOR | ARG_REFUND)) != 0) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	/* Afterwards this loop holds no lock and no hold. */
	loop_flush(loop);
	room = (packet->capacity - packet->payload_at - head) /
	       (uint32_t)sizeof(struct ush_booking);
	USH_ASSERT(room >= USH_LEG_COUNT_MAX);
	page.at = loop_payload(packet) + head;
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	reply.detail = fill(&page, (uint32_t)request->arg, room < ENTRIES ? room : ENTRIES);
	reply.amount = page.holds;
	if (page.entries != 0) {
		header.value = page.entries;
		header.size =
			(uint16_t)(sizeof(header) + page.entries * sizeof(struct ush_booking));
		memcpy(loop_payload(packet) + USH_REPLY_BYTES, &header, sizeof(header));
		reply.extension_count = 1;
		reply.size = (uint16_t)(USH_REPLY_BYTES + header.size);
	}
	decide_reply_after_all(loop, packet, &reply);
}
