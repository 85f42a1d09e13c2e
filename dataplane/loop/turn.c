/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn, in order:
 *   1. expire what is due, bounded;
 *   2. parse and admit the burst, prefetching the user and row lines it names;
 *   3. decide each request: claimed bits are cleared by compare-and-swap, new holds stay NEW, bits
 *      to be released stay taken, nothing else is visible;
 *   4. flush: reserve all slots with one fetch-add, write and publish the records, and only then
 *      make holds, users, states and released bits visible;
 *   5. let go the replies whose records are durable.
 * A request of a user whose earlier request is in the same batch makes the batch flush first.
 *
 * Failure modes: no log room, no waiting-reply room or no lines: BUSY before anything is claimed.
 * Another core holds the user's line: RETRY. Both change nothing.
 */
#include <string.h>

#include "loop/internal.h"

/* ---- replies ---- */

/*
 * Copies the base reply word by word and sums it on the way. The words must not be loaded in larger
 * pieces than they were stored in a moment ago, hence the barrier against vectorisation.
 */
USH_INLINE uint64_t put_words(uint8_t *to, const struct ush_reply *reply)
{
	const uint8_t *from = (const uint8_t *)reply;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < sizeof(*reply); i += sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, from + i, sizeof(word));
		__asm__("" : "+r"(word));
		memcpy(to + i, &word, sizeof(word));
		sum = ush_parse_sum_word(sum, word);
	}
	return ush_parse_sum_end(sum);
}

/* Writes the reply to the request at `frame` into `packet`, which may still hold that frame. */
USH_INLINE void put_reply(struct ush_loop *loop, const uint8_t *frame, struct ush_packet *packet,
	const struct ush_reply *reply)
{
	uint8_t *payload = loop_payload(packet);
	uint64_t sum;

	USH_ASSERT(reply->size <= packet->capacity - packet->payload_at);
	sum = put_words(payload, reply);
	count(&loop->counters.status[reply->status]);
	if (ush_unlikely((packet->flags & USH_PACKET_CONTROL) != 0)) {
		packet->size = reply->size;
		return;
	}
	if (ush_likely(reply->size == USH_REPLY_BYTES)) {
		ush_parse_reply(loop->net, frame, packet, USH_REPLY_BYTES, sum);
		return;
	}
	sum = ush_parse_sum(sum, payload + USH_REPLY_BYTES, reply->size - USH_REPLY_BYTES);
	ush_parse_reply(loop->net, frame, packet, reply->size, sum);
}

USH_INLINE void send_now(struct ush_loop *loop, const struct ush_packet *packet)
{
	struct ush_loop_out *out = loop->out;

	USH_ASSERT(out->send_count < USH_LOOP_SEND_MAX);
	out->send[out->send_count++] = *packet;
}

void loop_reply_now(struct ush_loop *loop, struct ush_packet *packet, const struct ush_reply *reply)
{
	put_reply(loop, packet->data, packet, reply);
	send_now(loop, packet);
}

/* Hands a packet back that nobody needs any more. */
USH_INLINE void finish(struct ush_loop *loop, const struct ush_packet *packet)
{
	struct ush_loop_out *out = loop->out;

	USH_ASSERT(out->free_count < USH_LOOP_BURST);
	out->free[out->free_count++] = *packet;
}

void loop_reply_after(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_reply *reply, uint64_t sequence)
{
	/* What stands behind a longer reply's base is in the packet already. */
	bool keep =
		ush_likely(reply->size == USH_REPLY_BYTES && ush_acks_keeps(packet, reply->size));
	struct ush_packet *waiting = ush_acks_push(&loop->acks, packet, sequence, keep);

	put_reply(loop, packet->data, waiting, reply);
	if (keep)
		finish(loop, packet);
}

void loop_refuse(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, enum ush_status status, uint32_t detail)
{
	struct ush_reply reply;

	ush_admit_reply(&reply, &admitted->request, status);
	reply.detail = detail;
	loop_reply_now(loop, packet, &reply);
}

void loop_drop(struct ush_loop *loop, const struct ush_packet *packet, enum ush_drop reason)
{
	count(&loop->counters.drop[reason]);
	finish(loop, packet);
}

/* ---- the batch ---- */

static void batch_begin(struct ush_loop *loop)
{
	const struct ush_engine *engine = loop->engine;
	uint32_t slots = ush_log_slots_worst(BATCH_RECORDS);
	uint32_t loops = engine->limits.loop_count;

	loop->act_count = 0;
	loop->record_count = 0;
	loop->room_kept = ush_log_has_room(&engine->log, slots, loops, USH_LOG_KEPT);
	loop->room_new = ush_log_has_room(&engine->log, slots, loops, USH_LOG_NEW);
}

void loop_act_run(struct ush_loop *loop, struct act *act)
{
	if (act->event != NULL && ush_event_keeps(act->event))
		decide_keep(loop, act);
	if (act->record_count > 1) {
		for (uint32_t i = 0; i < act->record_count; i++)
			loop->records[act->record_first + i].run_count = (uint8_t)act->record_count;
	}
}

static void set_state(struct ush_hold *hold, uint32_t state, bool step)
{
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
	uint16_t version = ush_hold_word_version(word);

	word = ush_hold_word(state, ush_hold_word_owner(word), (uint16_t)(version + step),
		ush_hold_word_generation(word));
	atomic_store_explicit(&hold->word, word, memory_order_release);
}

static void live_by(struct ush_loop *loop, int by)
{
	uint32_t live = atomic_load_explicit(&loop->live, memory_order_relaxed);

	atomic_store_explicit(&loop->live, live + (uint32_t)by, memory_order_relaxed);
}

static void show_hold(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = 0; i < act->record_count; i++, record++) {
		ush_row_make_firm(&act->event->rows[record->row], record->mask);
		ush_event_house_sold(act->event, &act->event->rows[record->row], record->mask);
		ush_best_note(act->event, record->row);
	}
	first->sequence = last;
	set_state(first, USH_HOLD_STATE_HELD, true);
	ush_wheel_add(loop->pool, act->hold);
	ush_event_count_taken(act->event, loop->index, act->seats);
	act->user->seats = (uint16_t)(act->user->seats + act->seats);
	live_by(loop, 1);
}

/* The hold is over: its lines go back to the loop that dealt them out. */
static void end_lines(struct ush_loop *loop, uint32_t index, uint32_t state)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, index);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);

	if (ush_hold_word_owner(word) == loop->index) {
		ush_wheel_remove(loop->pool, index);
		ush_hold_give(loop->pool, index);
	} else {
		set_state(first, state, true);
		ush_hold_send_home(&loop->engine->holds, index);
	}
}

static void give_seats_back(struct ush_loop *loop, struct act *act)
{
	ush_event_count_returned(act->event, loop->index, act->seats);
	USH_ASSERT(act->user->seats >= act->seats);
	act->user->seats = (uint16_t)(act->user->seats - act->seats);
}

/* Seats come back by the record at `last`: free, but for those that a KEEP record names. */
static void return_seats(
	struct ush_loop *loop, struct act *act, uint16_t row, uint64_t mask, uint64_t last)
{
	const struct ush_record *keep =
		&loop->records[act->record_first + act->record_count - act->keep_count];

	for (uint32_t i = 0; i < act->keep_count; i++, keep++) {
		if (keep->row != row)
			continue;
		USH_ASSERT((keep->mask & ~mask) == 0);
		mask &= ~keep->mask;
		ush_row_keep(act->event, &act->event->rows[row], keep->mask, last);
		if (keep->state == USH_KEEP_CHANNEL)
			ush_channel_return(
				&loop->engine->channels, act->event->id, row, keep->mask);
	}
	if (mask != 0)
		ush_row_return(act->event, &act->event->rows[row], mask);
}

/* RELEASE, EXPIRE and a payment that failed too late: all of the seats come back. */
static void show_end(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_holds *holds = &loop->engine->holds;
	struct ush_hold *first = ush_holds_line(holds, act->hold);

	for (const struct ush_hold *leg = first;; leg = ush_holds_line(holds, leg->next)) {
		if (leg->mask != 0)
			return_seats(loop, act, leg->row, leg->mask, last);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	give_seats_back(loop, act);
	live_by(loop, -1);
	if (act->kind == ACT_EXPIRE)
		count(&loop->counters.expired);
	end_lines(loop, act->hold, loop->records[act->record_first].state);
}

static void show_sold(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);

	first->sequence = last;
	first->pending = 0;
	if (ush_hold_word_owner(word) == loop->index)
		ush_wheel_remove(loop->pool, act->hold);
	ush_event_count_sold(act->event, act->seats, last);
	set_state(first, USH_HOLD_STATE_SOLD, true);
	live_by(loop, -1);
}

/* Some seats of a hold, named by the act's records, come back. */
static void cut_seats(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];
	struct ush_holds *holds = &loop->engine->holds;

	for (uint32_t i = act->keep_count; i < act->record_count; i++, record++) {
		struct ush_hold *leg = ush_holds_line(holds, act->hold);

		while (leg->row != record->row || (leg->mask & record->mask) == 0)
			leg = ush_holds_line(holds, leg->next);
		leg->mask &= ~record->mask;
		leg->amount = record->amount;
		return_seats(loop, act, leg->row, record->mask, last);
	}
	give_seats_back(loop, act);
}

static void show_extend(struct ush_loop *loop, struct act *act)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);
	uint64_t deadline_ns = loop->records[act->record_first].deadline_ns;
	bool hangs =
		ush_hold_word_owner(word) == loop->index && ush_wheel_remove(loop->pool, act->hold);

	/* In another loop's wheel it comes up when it would have, and is hung again. */
	__atomic_store_n(&first->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
	first->flags |= USH_HOLD_EXTENDED;
	if (hangs)
		ush_wheel_add(loop->pool, act->hold);
}

static void show_refunded(struct ush_loop *loop, struct act *act, uint64_t last)
{
	cut_seats(loop, act, last);
	ush_event_count_unsold(act->event, act->seats);
	if (act->kind == ACT_REFUND_ALL)
		end_lines(loop, act->hold, USH_HOLD_STATE_REFUNDED);
}

static void show_transfer(struct ush_loop *loop, struct act *act)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);
	uint64_t user = loop->records[act->record_first].mask;

	for (struct ush_hold *leg = first;; leg = ush_holds_line(&loop->engine->holds, leg->next)) {
		__atomic_store_n(&leg->user, user, __ATOMIC_RELAXED);
		if (leg->next == USH_HOLD_NONE)
			break;
	}
	USH_ASSERT(act->user->seats >= act->seats);
	act->user->seats = (uint16_t)(act->user->seats - act->seats);
	act->other->seats = (uint16_t)(act->other->seats + act->seats);
}

/* A change after which the hold goes on. */
static void show_step(struct ush_loop *loop, struct act *act, uint64_t last)
{
	struct ush_hold *first = ush_holds_line(&loop->engine->holds, act->hold);

	first->sequence = last;
	first->pending =
		act->kind == ACT_CUT || act->kind == ACT_EXTEND ? first->pending : act->pending;
	set_state(first, loop->records[act->record_first].state, true);
}

/* Blocked seats of a channel are from here for whoever has its key; unblocked ones its no more. */
static void show_channel(
	struct ush_loop *loop, struct ush_event *event, const struct ush_record *record)
{
	struct ush_channel_row *entry;

	if (record->state == 0)
		return;
	entry = ush_channel_find(&loop->engine->channels, event->id, record->row, record->state);
	USH_ASSERT(entry != NULL);
	if (record->type == USH_RECORD_TYPE_UNBLOCK) {
		atomic_fetch_and_explicit(&entry->seats, ~record->mask, memory_order_release);
		return;
	}
	atomic_fetch_or_explicit(&entry->seats, record->mask, memory_order_release);
	atomic_store_explicit(&event->keeps, 1, memory_order_release);
	ush_channel_put_back(entry, record->mask);
}

static void show_house(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];

	for (uint32_t i = 0; i < act->record_count; i++, record++) {
		struct ush_row *row = &act->event->rows[record->row];
		if (act->kind == ACT_BLOCK) {
			ush_event_house_add(act->event, row, record->mask, last);
			show_channel(loop, act->event, record);
		} else {
			show_channel(loop, act->event, record);
			ush_event_house_remove(act->event, row, record->mask);
		}
		ush_best_note(act->event, record->row);
	}
}

static void show(struct ush_loop *loop, struct act *act, uint64_t last)
{
	switch ((enum act_kind)act->kind) {
	case ACT_HOLD:
		show_hold(loop, act, last);
		break;
	case ACT_RELEASE:
	case ACT_EXPIRE:
	case ACT_PAY_EXPIRED:
		show_end(loop, act, last);
		break;
	case ACT_CONFIRM:
	case ACT_PAY_SOLD:
		show_sold(loop, act, last);
		break;
	case ACT_EXTEND:
		show_extend(loop, act);
		show_step(loop, act, last);
		break;
	case ACT_CUT:
		cut_seats(loop, act, last);
		show_step(loop, act, last);
		break;
	case ACT_TRANSFER:
		show_transfer(loop, act);
		show_step(loop, act, last);
		/* Not before the sequence stands: a look by the new user waits for that. */
		ush_user_unlock(act->other);
		break;
	case ACT_REFUND_ALL:
		show_refunded(loop, act, last);
		break;
	case ACT_REFUND_SOME:
		show_refunded(loop, act, last);
		show_step(loop, act, last);
		break;
	case ACT_PAY_BEGIN:
	case ACT_PAY_FAILED:
	case ACT_REFUND_BEGIN:
	case ACT_REFUND_FAILED:
		show_step(loop, act, last);
		break;
	case ACT_BLOCK:
	case ACT_UNBLOCK:
		show_house(loop, act, last);
		break;
	case ACT_EVENT:
		ush_event_publish(&loop->engine->inventory, act->event);
		break;
	case ACT_EVENT_STATUS:
		atomic_store_explicit(&act->event->status, loop->records[act->record_first].state,
			memory_order_release);
		break;
	case ACT_CHANNEL:
		atomic_store_explicit(
			&act->event->channel_key[loop->records[act->record_first].state],
			(uint8_t)loop->records[act->record_first].amount, memory_order_release);
		break;
	case ACT_TICK:
		break;
	}
	if (act->answer != NULL)
		act->answer->sequence = last;
	if (act->user != NULL)
		ush_user_unlock(act->user);
}

void loop_flush(struct ush_loop *loop)
{
	uint32_t acts = loop->act_count;

	if (acts != 0) {
		ush_log_append(
			&loop->engine->log, loop->records, loop->record_count, loop->sequences);
		for (uint32_t i = 0; i < acts; i++) {
			struct act *act = &loop->acts[i];
			/* A block is durable as a whole, its KEEP records with it. */
			uint32_t count = (uint32_t)act->record_count - act->keep_count;
			uint64_t last = loop->sequences[act->record_first + count - 1u];
			show(loop, act, last);
			if (act->has_reply) {
				act->reply.sequence = last;
				loop_reply_after(loop, act->packet, &act->reply, last);
			}
		}
		count_by(&loop->counters.records, loop->record_count);
	}
	batch_begin(loop);
}

/* ---- the turn ---- */

static void tick(struct ush_loop *loop)
{
	const struct ush_engine *engine = loop->engine;
	uint32_t live = 0;

	if (loop->index != 0 || loop->now_ns - loop->tick_ns < TICK_NS)
		return;
	/* The live counts of loops may be negative one by one (a hold ends elsewhere than it
	 * began); their sum is not. */
	for (uint32_t i = 0; i < engine->limits.loop_count; i++)
		live += atomic_load_explicit(&engine->loops[i].live, memory_order_relaxed);
	if (live == 0 || !loop->room_kept)
		return;
	loop->tick_ns = loop->now_ns;
	struct act *act = loop_act(loop, 1);
	act->kind = ACT_TICK;
	struct ush_record *record = loop_act_record(loop, act);
	record->type = USH_RECORD_TYPE_TICK;
	record->deadline_ns = loop->now_ns;
	loop_act_done(loop, act);
}

/* ret: true if the packet holds a request that passed; otherwise it is finished. */
static bool take(struct ush_loop *loop, struct ush_packet *packet, struct ush_admitted *admitted)
{
	bool control = (packet->flags & USH_PACKET_CONTROL) != 0;
	uint32_t payload_bytes = packet->size, detail = 0;

	if (control) {
		packet->payload_at = 0;
		count(&loop->counters.control_messages);
	} else {
		count(&loop->counters.rx_packets);
		count_by(&loop->counters.rx_bytes, packet->size);
		switch (ush_parse_frame(loop->net, packet, &payload_bytes, &detail)) {
		case USH_PARSE_REQUEST:
			break;
		case USH_PARSE_ANSWERED:
			count(&loop->counters.answer[detail]);
			packet->payload_at = 0;
			packet->spare = (uint8_t)detail;
			send_now(loop, packet);
			return false;
		case USH_PARSE_DROPPED:
			loop_drop(loop, packet, (enum ush_drop)detail);
			return false;
		}
	}
	ush_admit(loop_payload(packet), payload_bytes, control, admitted);
	switch ((enum ush_admit_verdict)admitted->verdict) {
	case USH_ADMIT_PASS:
		return true;
	case USH_ADMIT_REFUSE:
		count(&loop->counters.op[admitted->request.op]);
		loop_refuse(loop, packet, admitted, admitted->status, admitted->detail);
		return false;
	case USH_ADMIT_DROP:
		break;
	}
	loop_drop(loop, packet, admitted->drop);
	return false;
}

/* Brings near what deciding the request will need first. */
static void fetch_lines(const struct ush_loop *loop, const struct ush_request *request)
{
	const struct ush_users *users = &loop->engine->users;
	const struct ush_event *event =
		ush_inventory_event(&loop->engine->inventory, request->event);
	uint64_t hash = ush_user_hash(users, request->user, request->event);

	if (event == NULL)
		return;
	/* After the last seat most of those who ask never had a line. */
	bool chosen = request->op == USH_OP_RESERVE_BEST || request->op == USH_OP_RESERVE_AREA;
	if ((chosen || request->op == USH_OP_RESERVE) && ush_event_is_full(event)) {
		USH_PREFETCH(ush_user_known_word(users, hash));
		return;
	}
	ush_touch(ush_user_home(users, hash));
	if (chosen)
		return;
	if (request->row < event->row_count)
		USH_PREFETCH_WRITE(&event->rows[request->row]);
}

static void take_burst(
	struct ush_loop *loop, const struct ush_packet *packets, uint32_t packet_count)
{
	uint32_t passed = 0;

	for (uint32_t i = 0; i < packet_count; i++) {
		loop->packets[passed] = packets[i];
		if (i + 4 < packet_count)
			USH_PREFETCH(packets[i + 4].data);
		if (!take(loop, &loop->packets[passed], &loop->admitted[passed]))
			continue;
		passed++;
	}
	/* Close together, so that the walks through the page tables overlap. */
	for (uint32_t i = 0; i < passed; i++)
		fetch_lines(loop, &loop->admitted[i].request);
	if (passed != 0)
		ush_hold_prefetch(loop->pool, passed);
	for (uint32_t i = 0; i < passed; i++) {
		count(&loop->counters.op[loop->admitted[i].request.op]);
		decide(loop, &loop->packets[i], &loop->admitted[i]);
	}
}

uint32_t ush_loop_turn(struct ush_loop *loop, const struct ush_net *net,
	const struct ush_packet *packets, uint32_t packet_count, uint64_t now_ns,
	struct ush_loop_out *out)
{
	uint32_t work, popped;

	USH_ASSERT(packet_count <= USH_LOOP_BURST);
	USH_ASSERT(packet_count <= ush_acks_room(&loop->acks));
	loop->now_ns = ush_max64(now_ns, loop->now_ns);
	loop->net = net;
	loop->out = out;
	out->send_count = 0;
	out->free_count = 0;
	batch_begin(loop);
	tick(loop);
	ush_hold_homecoming(loop->pool);
	work = decide_expiry(loop);
	take_burst(loop, packets, packet_count);
	loop_flush(loop);
	popped = ush_acks_pop(&loop->acks, ush_log_durable(&loop->engine->log),
		out->send + out->send_count, USH_LOOP_SEND_MAX - out->send_count);
	out->send_count += popped;
	work += packet_count + popped;
	count(&loop->counters.turns);
	if (work == 0)
		count(&loop->counters.idle_turns);
	__atomic_store_n(&loop->counters.waiting, ush_acks_count(&loop->acks), __ATOMIC_RELAXED);
	return work;
}

uint32_t ush_loop_waiting(const struct ush_loop *loop)
{
	return ush_acks_count(&loop->acks);
}

uint32_t ush_loop_room(const struct ush_loop *loop)
{
	uint32_t room = ush_acks_room(&loop->acks);

	return room < USH_LOOP_BURST ? room : USH_LOOP_BURST;
}

void ush_loop_count_drop(
	struct ush_loop *loop, enum ush_drop reason, const struct ush_packet *reply)
{
	count(&loop->counters.drop[reason]);
	if (reply == NULL) {
		count(&loop->counters.rx_packets);
		return;
	}
	if (reply->payload_at == 0 && (reply->flags & USH_PACKET_CONTROL) == 0) {
		count_by(&loop->counters.answer[reply->spare], (uint64_t)-1);
		return;
	}
	uint8_t status = loop_payload(reply)[offsetof(struct ush_reply, status)];
	count_by(&loop->counters.status[status], (uint64_t)-1);
}
