/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the gate stands in a turn: behind the parser, before anything of the request is read.
 *
 * Failure modes: what is refused is answered with a base reply, never longer than the request, or
 * dropped when refusals are over their rate; each under its verdict.
 */
#include <string.h>

#include "loop/internal.h"

/* A step of the difficulty at most this often. */
#define LOAD_NS 100000000ull
#define LOAD_BITS_MAX 8u

static const uint8_t refusal_status[USH_VERDICT_COUNT] = {
	[USH_VERDICT_VERSION] = USH_STATUS_BAD_VERSION,
	[USH_VERDICT_OP] = USH_STATUS_BAD_OP,
	[USH_VERDICT_PRIVILEGED] = USH_STATUS_NOT_PERMITTED,
	[USH_VERDICT_MAC_MISSING] = USH_STATUS_MAC,
	[USH_VERDICT_MAC_KEY] = USH_STATUS_MAC,
	[USH_VERDICT_MAC_TIME] = USH_STATUS_MAC,
	[USH_VERDICT_MAC_FORGED] = USH_STATUS_MAC,
	[USH_VERDICT_EVENT_UNKNOWN] = USH_STATUS_UNKNOWN_EVENT,
	[USH_VERDICT_EVENT_CLOSED] = USH_STATUS_NOT_ON_SALE,
	[USH_VERDICT_EVENT_SOLD_OUT] = USH_STATUS_SOLD_OUT,
	[USH_VERDICT_TOKEN_MISSING] = USH_STATUS_TOKEN,
	[USH_VERDICT_TOKEN_KEY] = USH_STATUS_TOKEN,
	[USH_VERDICT_TOKEN_EVENT] = USH_STATUS_TOKEN,
	[USH_VERDICT_TOKEN_USER] = USH_STATUS_TOKEN,
	[USH_VERDICT_TOKEN_EXPIRED] = USH_STATUS_TOKEN,
	[USH_VERDICT_TOKEN_FORGED] = USH_STATUS_TOKEN,
	[USH_VERDICT_SOURCE_RATE] = USH_STATUS_RATE,
	[USH_VERDICT_WORK_MISSING] = USH_STATUS_PROOF_OF_WORK,
	[USH_VERDICT_WORK_LOW] = USH_STATUS_PROOF_OF_WORK,
	[USH_VERDICT_WORK_TIME] = USH_STATUS_PROOF_OF_WORK,
	[USH_VERDICT_WORK_WRONG] = USH_STATUS_PROOF_OF_WORK,
	[USH_VERDICT_USER_RATE] = USH_STATUS_RATE,
};

/* Of verdicts on what is no request. */
static enum ush_drop silent_drop(uint8_t verdict)
{
	switch (verdict) {
	case USH_VERDICT_PAYLOAD_SHORT:
		return USH_DROP_PAYLOAD_SHORT;
	case USH_VERDICT_MAGIC:
		return USH_DROP_MAGIC;
	case USH_VERDICT_PAYLOAD_LONG:
		return USH_DROP_PAYLOAD_LONG;
	case USH_VERDICT_SIZE:
		return USH_DROP_SIZE;
	default:
		return USH_DROP_REFUSE_RATE;
	}
}

void admission_count_frame(struct ush_loop *loop, int reason)
{
	switch (reason) {
	case USH_DROP_FRAME_SHORT:
	case USH_DROP_IP_HEADER:
	case USH_DROP_IP_CHECKSUM:
	case USH_DROP_IP_FRAGMENT:
	case USH_DROP_IP_OPTIONS:
	case USH_DROP_UDP_LENGTH:
		count(&loop->counters.verdict[USH_VERDICT_HEADER]);
		break;
	default:
		count(&loop->counters.verdict[USH_VERDICT_HOST]);
		break;
	}
}

static void refuse(struct ush_loop *loop, const struct ush_admit_config *config,
	struct ush_packet *packet, const struct ush_admit_says *says)
{
	struct ush_request request;
	struct ush_reply reply;
	uint8_t status = refusal_status[says->verdict], policy = 0;

	if (says->reply == 0) {
		loop_drop(loop, packet, silent_drop(says->verdict));
		return;
	}
	memcpy(&request, loop_payload(packet), sizeof(request));
	count(&loop->counters.op[request.op]);
	ush_admit_reply(&reply, &request, (enum ush_status)status);
	switch (status) {
	case USH_STATUS_BAD_VERSION:
		reply.detail = USH_VERSION;
		break;
	case USH_STATUS_MAC:
	case USH_STATUS_TOKEN:
		reply.detail = says->verdict;
		break;
	case USH_STATUS_RATE:
		reply.detail = says->verdict;
		reply.deadline_ns = says->retry_ns;
		break;
	case USH_STATUS_PROOF_OF_WORK:
		if (request.event <= USH_EVENT_ID_MAX)
			policy = config->event[request.event] & USH_ADMIT_EVENT_POLICY;
		reply.detail = says->verdict | says->work_bits << 8;
		reply.amount = config->policy[policy].work_salt;
		reply.deadline_ns = loop->now_ns;
		break;
	default:
		break;
	}
	loop_reply_now(loop, packet, &reply);
}

/* Who has a hold is served first when there is much to do: in the order of arrival otherwise. */
static void holds_first(struct ush_loop *loop, uint32_t packet_count)
{
	struct ush_packet others[USH_LOOP_BURST];
	uint32_t others_bytes[USH_LOOP_BURST], holds = 0, other_count = 0;

	for (uint32_t i = 0; i < packet_count; i++) {
		const struct ush_packet *packet = &loop->packets[i];
		const uint8_t *op = loop_payload(packet) + offsetof(struct ush_request, op);
		if ((packet->flags & USH_PACKET_CONTROL) == 0 && !ush_gate_is_hold(*op)) {
			others[other_count] = *packet;
			others_bytes[other_count++] = loop->payload_bytes[i];
			continue;
		}
		loop->packets[holds] = *packet;
		loop->payload_bytes[holds++] = loop->payload_bytes[i];
	}
	for (uint32_t i = 0; i < other_count; i++) {
		loop->packets[holds + i] = others[i];
		loop->payload_bytes[holds + i] = others_bytes[i];
	}
}

uint32_t admission_judge(struct ush_loop *loop, uint32_t packet_count)
{
	struct ush_gate *gate = loop->engine->gate;
	const struct ush_admit_config *config = ush_gate_config(gate);
	struct ush_gate_item items[USH_LOOP_BURST];
	uint32_t count_public = 0, left = 0, next = 0;

	static_assert(USH_GATE_BURST >= USH_LOOP_BURST, "a burst is judged at once");
	for (uint32_t i = 0; i < packet_count; i++) {
		const struct ush_packet *packet = &loop->packets[i];
		const uint8_t *ip = packet->data + USH_ETHER_BYTES;
		if ((packet->flags & USH_PACKET_CONTROL) != 0)
			continue;
		items[count_public++] = (struct ush_gate_item){
			.payload = loop_payload(packet),
			.size = loop->payload_bytes[i],
			.family = packet->family,
			.source = packet->family == 4 ? ip + 12 : ip + 8,
		};
	}
	ush_gate_judge(gate, config, items, count_public, loop->now_ns);
	for (uint32_t i = 0; i < packet_count; i++) {
		struct ush_packet *packet = &loop->packets[i];
		if ((packet->flags & USH_PACKET_CONTROL) == 0) {
			const struct ush_admit_says *says = &items[next++].says;
			count(&loop->counters.verdict[says->verdict]);
			if (says->verdict != USH_VERDICT_PASS) {
				refuse(loop, config, packet, says);
				continue;
			}
		}
		if (i != left) {
			loop->packets[left] = *packet;
			loop->payload_bytes[left] = loop->payload_bytes[i];
		}
		left++;
	}
	if (packet_count >= USH_LOOP_BURST / 2)
		holds_first(loop, left);
	return left;
}

/* Full bursts in three of four turns: a bit more; in less than one of four: a bit less. */
void admission_load(struct ush_loop *loop, uint32_t packet_count)
{
	uint32_t *bits = &loop->engine->gate->state.load_bits;
	uint32_t now = __atomic_load_n(bits, __ATOMIC_RELAXED);

	loop->load_turns++;
	loop->load_full += packet_count >= USH_LOOP_BURST / 2;
	if (loop->now_ns - loop->load_from_ns < LOAD_NS)
		return;
	if (loop->load_full * 4 > loop->load_turns * 3)
		now = now < LOAD_BITS_MAX ? now + 1 : now;
	else if (loop->load_full * 4 < loop->load_turns)
		now = now != 0 ? now - 1 : 0;
	__atomic_store_n(bits, now, __ATOMIC_RELAXED);
	loop->load_from_ns = loop->now_ns;
	loop->load_turns = 0;
	loop->load_full = 0;
}

void ush_engine_admission(struct ush_engine *engine, const struct ush_admit_config *config)
{
	USH_ASSERT(engine->gate != NULL);
	ush_gate_set(engine->gate, config);
}

const struct ush_admit_config *ush_engine_admission_config(const struct ush_engine *engine)
{
	const struct ush_gate *gate = engine->gate;

	if (gate == NULL || __atomic_load_n(&gate->on, __ATOMIC_ACQUIRE) == 0)
		return NULL;
	return ush_gate_config(gate);
}

struct ush_key ush_engine_table_key(const struct ush_key *hold_key)
{
	return (struct ush_key){
		ush_siphash_2(hold_key, 0x61646d6974, 1), ush_siphash_2(hold_key, 0x61646d6974, 2)};
}

void ush_engine_admission_read(const struct ush_engine *engine, struct ush_admission_view *view)
{
	const struct ush_gate *gate = engine->gate;

	*view = (struct ush_admission_view){0};
	if (gate == NULL)
		return;
	view->on = __atomic_load_n(&gate->on, __ATOMIC_RELAXED);
	view->load_bits = __atomic_load_n(&gate->state.load_bits, __ATOMIC_RELAXED);
	view->source_evicted = __atomic_load_n(&gate->state.sources.evicted, __ATOMIC_RELAXED);
	view->user_evicted = __atomic_load_n(&gate->state.users.evicted, __ATOMIC_RELAXED);
}
