/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn, in order:
 *   1. expire what is due, bounded;
 *   2. parse and admit the burst, prefetching the user and row lines it names;
 *   3. decide each request: claimed bits are cleared by compare-and-swap, new holds stay NEW, bits
 *      to be released stay taken, nothing else is visible;
 *   4. flush: reserve all slots with one fetch-add, write and publish the records, and only then
 *      make holds, users, states and released bits visible;
 *   5. offer what came back to those who wait for it, by 3 and 4;
 *   6. let go the replies whose records are durable.
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
	/* No headers, or those of the datagram that it leaves in (ush_pack_end). */
	if (ush_unlikely((packet->flags & (USH_PACKET_CONTROL | USH_PACKET_PACKED)) != 0)) {
		packet->size = (uint32_t)packet->payload_at + reply->size;
		return;
	}
	if (ush_likely(reply->size == USH_REPLY_BYTES)) {
		ush_parse_reply(loop->net, frame, packet, USH_REPLY_BYTES, sum);
		return;
	}
	sum = ush_parse_sum(sum, payload + USH_REPLY_BYTES, reply->size - USH_REPLY_BYTES);
	ush_parse_reply(loop->net, frame, packet, reply->size, sum);
}

USH_INLINE struct ush_packet *send_now(struct ush_loop *loop, const struct ush_packet *packet)
{
	struct ush_loop_out *out = loop->out;
	struct ush_packet *slot = &out->send[out->send_count++];

	USH_ASSERT(out->send_count <= USH_LOOP_SEND_MAX);
	*slot = *packet;
	return slot;
}

void loop_reply_now(struct ush_loop *loop, struct ush_packet *packet, const struct ush_reply *reply)
{
	/* Moved before it is answered: to move it in large pieces when its size has just been
	 * stored would wait for the store buffer. */
	put_reply(loop, packet->data, send_now(loop, packet), reply);
}

/* Hands a packet back that nobody needs any more; one without handle is nobody's. */
USH_INLINE void finish(struct ush_loop *loop, const struct ush_packet *packet)
{
	struct ush_loop_out *out = loop->out;

	if (packet->handle == NULL)
		return;
	USH_ASSERT(out->free_count < USH_LOOP_BURST);
	out->free[out->free_count++] = *packet;
}

/* The packet waits with its reply: a control message, or too long to leave it. */
static __attribute__((noinline)) void wait_in_packet(struct ush_loop *loop,
	const struct ush_packet *packet, const struct ush_reply *reply, uint64_t sequence)
{
	put_reply(loop, packet->data, ush_acks_push(&loop->acks, packet, sequence), reply);
}

USH_INLINE void reply_after(struct ush_loop *loop, const struct ush_packet *packet,
	const struct ush_reply *reply, uint64_t sequence)
{
	struct ush_packet *kept;

	/* What stands behind a longer reply's base is in the packet already. */
	if (ush_unlikely(
		    reply->size != USH_REPLY_BYTES || !ush_acks_keeps(packet, USH_REPLY_BYTES))) {
		wait_in_packet(loop, packet, reply, sequence);
		return;
	}
	kept = ush_acks_push_kept(&loop->acks, packet, sequence);
	/* The headers; what stands behind them is written over. */
	if ((packet->flags & USH_PACKET_PACKED) != 0)
		memcpy(kept->data, packet->data, USH_REPLY_BYTES);
	put_reply(loop, packet->data, kept, reply);
	finish(loop, packet);
}

void loop_reply_after(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_reply *reply, uint64_t sequence)
{
	reply_after(loop, packet, reply, sequence);
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
	uint32_t records;

	if (act->event != NULL && ush_event_keeps(act->event)) {
		decide_keep(loop, act);
		decide_priced(loop, act);
		if (ush_event_is_timed(act->event))
			decide_time(loop, act);
	}
	records = (uint32_t)act->record_count + act->priced + act->timed;
	for (uint32_t i = 0; records > 1 && i < records; i++)
		loop->records[act->record_first + i].run_count = (uint8_t)records;
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
			loop_show(loop, act, last);
			if (act->has_reply) {
				act->reply.sequence = last;
				reply_after(loop, act->packet, &act->reply, last);
			}
		}
		count_by(&loop->counters.records, loop->record_count);
	}
	while (loop->list_count != 0)
		ush_wait_unlock(loop->lists[--loop->list_count]);
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

/* ret: true if the packet has a payload for us; otherwise it is finished. */
USH_INLINE bool take_frame(
	struct ush_loop *loop, struct ush_packet *packet, uint32_t *payload_bytes)
{
	bool control = (packet->flags & USH_PACKET_CONTROL) != 0;
	uint32_t detail = 0;

	*payload_bytes = packet->size;
	if (control) {
		packet->payload_at = 0;
		count(&loop->counters.control_messages);
	} else if ((packet->flags & USH_PACKET_PACKED) != 0) {
		/* Its datagram was parsed before it was cut. */
		*payload_bytes -= packet->payload_at;
		count(&loop->counters.rx_packets);
		count_by(&loop->counters.rx_bytes, *payload_bytes);
	} else {
		count(&loop->counters.rx_packets);
		count_by(&loop->counters.rx_bytes, packet->size);
		switch (ush_parse_frame(loop->net, packet, payload_bytes, &detail)) {
		case USH_PARSE_REQUEST:
			break;
		case USH_PARSE_ANSWERED:
			if (admission_on(loop))
				admission_count_frame(loop, -1);
			count(&loop->counters.answer[detail]);
			packet->payload_at = 0;
			packet->spare = (uint8_t)detail;
			send_now(loop, packet);
			return false;
		case USH_PARSE_DROPPED:
			if (admission_on(loop))
				admission_count_frame(loop, (int)detail);
			loop_drop(loop, packet, (enum ush_drop)detail);
			return false;
		}
	}
	return true;
}

/* ret: true if the payload is a request that is well-formed; otherwise it is finished. */
USH_INLINE bool take_payload(struct ush_loop *loop, struct ush_packet *packet,
	uint32_t payload_bytes, struct ush_admitted *admitted)
{
	bool control = (packet->flags & USH_PACKET_CONTROL) != 0;

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

/* As take_burst, through admission. ret: how many passed. */
static __attribute__((noinline)) uint32_t take_admitted(
	struct ush_loop *loop, const struct ush_packet *packets, uint32_t packet_count)
{
	uint32_t taken = 0, passed = 0;

	for (uint32_t i = 0; i < packet_count; i++) {
		loop->packets[taken] = packets[i];
		if (i + 4 < packet_count)
			USH_PREFETCH(packets[i + 4].data);
		taken += take_frame(loop, &loop->packets[taken], &loop->payload_bytes[taken]);
	}
	taken = admission_judge(loop, taken);
	for (uint32_t i = 0; i < taken; i++) {
		if (i != passed)
			loop->packets[passed] = loop->packets[i];
		passed += take_payload(loop, &loop->packets[passed], loop->payload_bytes[i],
			&loop->admitted[passed]);
	}
	return passed;
}

/* ret: how many packets hold a request that passed; the others are finished. */
USH_INLINE uint32_t take_all(
	struct ush_loop *loop, const struct ush_packet *packets, uint32_t packet_count)
{
	uint32_t passed = 0, payload_bytes = 0;

	for (uint32_t i = 0; i < packet_count; i++) {
		loop->packets[passed] = packets[i];
		if (i + 8 < packet_count) {
			const struct ush_packet *ahead = &packets[i + 8];
			USH_PREFETCH(ahead->data + ahead->payload_at);
			USH_PREFETCH(ahead->data + ahead->payload_at + USH_CACHE_LINE);
		}
		if (take_frame(loop, &loop->packets[passed], &payload_bytes) &&
			take_payload(loop, &loop->packets[passed], payload_bytes,
				&loop->admitted[passed]))
			passed++;
	}
	return passed;
}

/* Brings near what deciding the request will need first, but for the user's line. ret: that one,
 * NULL if the request will not need it. */
USH_INLINE const struct ush_user *fetch_row(
	const struct ush_loop *loop, struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	const struct ush_users *users = &loop->engine->users;
	const struct ush_event *event =
		ush_inventory_event(&loop->engine->inventory, request->event);
	uint64_t hash = ush_user_hash(users, request->user, request->event);

	admitted->user_hash = hash;
	if (event == NULL)
		return NULL;
	/* After the last seat most of those who ask never had a line. */
	bool chosen = request->op == USH_OP_RESERVE_BEST || request->op == USH_OP_RESERVE_AREA;
	if (chosen || request->op == USH_OP_RESERVE) {
		if (ush_event_is_full(event)) {
			USH_PREFETCH(ush_user_known_word(users, hash));
			return NULL;
		}
	} else if (request->op == USH_OP_JOIN) {
		const struct ush_queue *queue =
			ush_rooms_find(&loop->engine->rooms, request->event);
		if (queue != NULL)
			USH_PREFETCH_WRITE(
				ush_room_home(&queue->room, ush_queue_hash(queue, request->user)));
		return NULL;
	}
	if (!chosen && request->row < ush_event_row_count(event))
		USH_PREFETCH_WRITE(ush_event_row(event, request->row));
	return ush_user_home(users, hash);
}

static void fetch_lines(struct ush_loop *loop, uint32_t passed)
{
	const struct ush_user *home[USH_LOOP_BURST];
	uint32_t count = 0;

	for (uint32_t i = 0; i < passed; i++) {
		home[count] = fetch_row(loop, &loop->admitted[i]);
		count += home[count] != NULL;
	}
	/* Nothing but these, so that as many walks through the page tables overlap as the core has
	 * walkers. The line behind is where the search goes on. */
	for (uint32_t i = 0; i < count; i++) {
		ush_touch(home[i]);
		USH_PREFETCH(home[i] + 1);
	}
}

static void take_burst(
	struct ush_loop *loop, const struct ush_packet *packets, uint32_t packet_count)
{
	uint32_t passed = admission_on(loop) ? take_admitted(loop, packets, packet_count)
					     : take_all(loop, packets, packet_count);

	if (passed != 0) {
		fetch_lines(loop, passed);
		ush_hold_prefetch(loop->pool, passed);
	}
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
	if (admission_on(loop) && loop->index == 0)
		admission_load(loop, packet_count);
	ush_hold_homecoming(loop->pool);
	work = decide_expiry(loop);
	if (ush_unlikely(ush_rooms_count(&loop->engine->rooms) != 0))
		room_serve(loop);
	take_burst(loop, packets, packet_count);
	loop_flush(loop);
	work += match_lists(loop);
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
