/* SPDX-License-Identifier: Apache-2.0 */
/* Makes requests: which kind, which user, which seats. Decided by the seed alone. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* Seats a multi-row request asks for at most: what a user may usually have. */
#define MULTI_SEATS USH_USER_SEATS_DEFAULT

int load_traffic_init(struct load *load, struct ush_message *message)
{
	const struct load_options *options = &load->options;
	uint32_t at = 0;

	ush_random_init(&load->random, options->seed);
	for (uint32_t kind = 0; kind < LOAD_KIND_COUNT; kind++) {
		memset(load->kinds + at, (int)kind, options->weight[kind]);
		at += options->weight[kind];
	}
	load->next_id = calloc(options->users, sizeof(load->next_id[0]));
	if (load->next_id == NULL) {
		ush_message_set(
			message, "no memory for %llu users", (unsigned long long)options->users);
		return -USH_ENOMEM;
	}
	for (uint64_t i = 0; i < options->users; i++)
		load->next_id[i] = (uint32_t)options->request_id_base;
	load->sweep_left = load->events[0].venue->seats[0];
	return 0;
}

void load_traffic_free(struct load *load)
{
	free(load->next_id);
}

uint32_t load_traffic_id(struct load *load, uint32_t user_index)
{
	return load->next_id[user_index]++;
}

/* Users take turns, so that nobody has two requests under way while others have none. */
static uint32_t next_user(struct load *load)
{
	uint32_t user = load->user_cursor;

	load->user_cursor = user + 1 == load->options.users ? 0 : user + 1;
	return user;
}

static uint32_t random_event(struct load *load)
{
	if (load->options.event_count == 1)
		return 0;
	return (uint32_t)ush_random_below(&load->random, load->options.event_count);
}

/* ---- kinds --------------------------------------------------------------------------------- */

/* A base request of the next user; the cookie that came with the slot stays. */
static void begin(struct load *load, struct load_slot *slot, enum ush_op op, uint32_t event_index,
	uint32_t user_index)
{
	slot->event_index = event_index;
	slot->request = (struct ush_request){
		.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = (uint8_t)op,
		.size = sizeof(struct ush_request),
		.event = load->events[event_index].id,
		.request_id = load_traffic_id(load, user_index),
		.user = load->options.user_base + user_index,
		.cookie = slot->request.cookie,
	};
}

/* Adjacent seats that exist, somewhere in the row. */
static uint64_t random_seats(struct load *load, const struct load_venue *venue, uint32_t row)
{
	uint64_t k = load->options.seats_per_request;
	uint64_t group = k == 64 ? UINT64_MAX : (1ull << k) - 1;
	uint64_t starts = venue->starts[row];
	uint64_t width = 64u - (uint32_t)__builtin_clzll(starts);
	uint64_t at = ush_random_below(&load->random, width);

	starts = starts >> at << at;
	if (starts == 0)
		starts = venue->starts[row];
	return group << __builtin_ctzll(starts);
}

static void make_reserve(struct load *load, struct load_slot *slot, uint32_t event_index,
	uint32_t row, uint64_t mask)
{
	begin(load, slot, USH_OP_RESERVE, event_index, next_user(load));
	slot->request.row = (uint16_t)row;
	slot->request.mask = mask;
	slot->request.hold_ms = (uint32_t)load->options.hold_ms;
}

/* in: rows: how many of the usable rows to choose from. */
static void make_random(struct load *load, struct load_slot *slot, uint64_t rows)
{
	uint32_t event_index = random_event(load);
	const struct load_venue *venue = load->events[event_index].venue;
	uint64_t choice = ush_random_below(&load->random, ush_min64(rows, venue->usable_count));
	uint32_t row = venue->usable[choice];

	make_reserve(load, slot, event_index, row, random_seats(load, venue, row));
}

/* The next seats in order, at most K of one row. ret: false when every seat was asked for. */
static bool make_sweep(struct load *load, struct load_slot *slot)
{
	const struct load_options *options = &load->options;
	uint64_t mask = 0;

	while (load->sweep_left == 0) {
		if (++load->sweep_row == load->events[load->sweep_event].venue->row_count) {
			load->sweep_row = 0;
			if (++load->sweep_event == options->event_count) {
				load->sweep_done = true;
				load->sweep_event = 0;
				return false;
			}
		}
		load->sweep_left = load->events[load->sweep_event].venue->seats[load->sweep_row];
	}
	for (uint64_t i = 0; i < options->seats_per_request && load->sweep_left != 0; i++) {
		mask |= load->sweep_left & -load->sweep_left;
		load->sweep_left &= load->sweep_left - 1;
	}
	make_reserve(load, slot, load->sweep_event, load->sweep_row, mask);
	return true;
}

/* Two or more rows in a line, some seats of each. */
static void make_multi(struct load *load, struct load_slot *slot)
{
	uint32_t event_index = random_event(load);
	const struct load_venue *venue = load->events[event_index].venue;
	struct load_legs *legs = &load->legs[slot - load->slots];
	uint64_t most = ush_max64(2, MULTI_SEATS / load->options.seats_per_request);
	uint32_t count = (uint32_t)(2 + ush_random_below(&load->random, most - 1));
	uint32_t choice = (uint32_t)ush_random_below(&load->random, venue->usable_count);
	uint32_t row = venue->usable[choice];

	count = (uint32_t)ush_min64(count, venue->usable_count);
	make_reserve(load, slot, event_index, row, random_seats(load, venue, row));
	if (count == 1)
		return;
	for (uint32_t i = 0; i + 1 < count; i++) {
		choice = choice + 1 == venue->usable_count ? 0 : choice + 1;
		row = venue->usable[choice];
		legs->leg[i] = (struct ush_leg){
			.row = (uint16_t)row, .mask = random_seats(load, venue, row)};
	}
	slot->leg_count = (uint8_t)count;
	slot->tail_bytes = (uint16_t)(sizeof(legs->header) + (count - 1) * sizeof(legs->leg[0]));
	legs->header = (struct ush_extension_header){
		.type = USH_EXTENSION_LEGS, .size = slot->tail_bytes, .value = count - 1};
	slot->request.extension_count = 1;
	slot->request.size = (uint16_t)(sizeof(slot->request) + slot->tail_bytes);
}

/* ret: false when we hold nothing. */
static bool make_release(struct load *load, struct load_slot *slot)
{
	const struct load_hold *hold;

	if (load->holds_taken == load->holds_put)
		return false;
	hold = &load->holds[load->holds_taken++ % LOAD_HOLDS];
	begin(load, slot, USH_OP_RELEASE, hold->event_index, hold->user_index);
	slot->request.hold = hold->hold;
	load_grants_clear(load, hold);
	return true;
}

static void make_query(struct load *load, struct load_slot *slot)
{
	uint32_t event_index = random_event(load);
	const struct load_hold *hold;

	if (load->holds_put != 0 && (ush_random_next(&load->random) & 1) != 0) {
		hold = &load->holds[(load->holds_put - 1) % LOAD_HOLDS];
		begin(load, slot, USH_OP_QUERY_HOLD, hold->event_index, hold->user_index);
		slot->request.hold = hold->hold;
		return;
	}
	begin(load, slot, USH_OP_QUERY_SECTION, event_index, next_user(load));
	/* The user is not looked at here, so it is zero. */
	slot->request.user = 0;
	slot->request.section = (uint16_t)ush_random_below(
		&load->random, load->events[event_index].venue->section_count);
}

/* ret: false when nothing was answered yet that the box must still remember. */
static bool make_retry(struct load *load, struct load_slot *slot)
{
	uint64_t known = ush_min64(load->answers_put, LOAD_ANSWERS);
	const struct load_answered *answered;
	uint64_t cookie = slot->request.cookie;
	uint32_t user_index;

	if (known == 0)
		return false;
	answered = &load->answers[ush_random_below(&load->random, known)];
	user_index = (uint32_t)(answered->request.user - load->options.user_base);
	if (load->next_id[user_index] - answered->request.request_id >= USH_REQUEST_WINDOW)
		return false;
	slot->request = answered->request;
	slot->request.cookie = cookie;
	slot->event_index = answered->event_index;
	slot->before_status = answered->status;
	slot->before_hold = answered->hold;
	slot->before_resent = answered->resent;
	return true;
}

/* Fills the slot. ret: false if this kind has nothing to ask now. */
static bool make(struct load *load, struct load_slot *slot, enum load_kind kind)
{
	switch (kind) {
	case LOAD_UNIFORM:
	case LOAD_DOUBLE:
		make_random(load, slot, UINT64_MAX);
		return true;
	case LOAD_HOT:
		make_random(load, slot, load->options.hot_rows);
		return true;
	case LOAD_SWEEP:
		return !load->sweep_done && make_sweep(load, slot);
	case LOAD_MULTI:
		make_multi(load, slot);
		return true;
	case LOAD_RELEASE:
		return make_release(load, slot);
	case LOAD_QUERY:
		make_query(load, slot);
		return true;
	case LOAD_STATUS:
		begin(load, slot, USH_OP_STATUS, random_event(load), next_user(load));
		slot->request.user = 0;
		return true;
	case LOAD_RETRY:
		return make_retry(load, slot);
	case LOAD_MALFORMED:
	case LOAD_KIND_COUNT:
	default:
		return false;
	}
}

bool load_traffic_next(struct load *load, uint64_t intended_ns, uint64_t now_ns)
{
	const struct load_options *options = &load->options;
	uint8_t kind = load->kinds[0];
	struct load_slot *slot;

	if (options->weight[kind] != options->weight_sum)
		kind = load->kinds[ush_random_below(&load->random, options->weight_sum)];
	if (kind == LOAD_MALFORMED) {
		load_malformed_next(load, intended_ns);
		return true;
	}
	slot = load_track_take(load);
	if (slot == NULL)
		return false;
	if (!make(load, slot, kind)) {
		/* Nothing left to sweep ends the run; nothing to release or repeat yet is filled
		 * up with new claims. */
		if (kind == LOAD_SWEEP) {
			load->exhausted = true;
			load->free_count++;
			return false;
		}
		kind = LOAD_UNIFORM;
		make_random(load, slot, UINT64_MAX);
	}
	slot->kind = kind;
	slot->intended_ns = intended_ns;
	load_track_send(load, slot, now_ns);
	return true;
}
