/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short words for asking one engine with two events: one request at a time, or in bursts.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#ifndef USH_TEST_ASK_H
#define USH_TEST_ASK_H

#include "harness.h"
#include "tap.h"

#define EVENT 1u
#define OTHER 2u
#define ROWS 6u
#define SEATS 10u
#define LIMIT 20u
#define MS 1000000ull

static struct harness h;

/* Two events of six rows of ten seats; at most twenty seats a user. */
static inline void start_with(const struct ush_engine_limits *limits)
{
	if (h.memory != NULL)
		harness_close(&h);
	harness_open(&h, limits);
	harness_event(&h, EVENT, ROWS, SEATS, LIMIT);
	harness_event(&h, OTHER, ROWS, SEATS, LIMIT);
}

static inline void start(void)
{
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	start_with(&limits);
}

static inline struct ush_reply ask(struct ush_request request)
{
	request.cookie = 0xabcdef;
	return harness_ask(&h, &request);
}

static inline struct ush_reply reserve(uint64_t user, uint32_t id, uint16_t row, uint64_t mask)
{
	return ask(harness_reserve(EVENT, user, id, row, mask));
}

/* legs[0] is the base leg. */
static inline struct ush_reply ask_legs(
	struct ush_request request, const struct ush_leg *legs, uint32_t count)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg[USH_LEG_COUNT_MAX - 1];
	} extra = {.header = {.type = USH_EXTENSION_LEGS,
			   .size = (uint16_t)(8 + (count - 1) * 16),
			   .value = count - 1}};

	request.row = legs[0].row;
	request.mask = legs[0].mask;
	for (uint32_t i = 1; i < count; i++)
		extra.leg[i - 1] = legs[i];
	return harness_ask_with(&h, &request, &extra, count > 1 ? extra.header.size : 0, NULL);
}

static inline struct ush_reply on_hold(uint8_t op, uint64_t user, uint64_t hold, uint32_t id)
{
	return ask((struct ush_request){
		.op = op, .event = EVENT, .user = user, .hold = hold, .request_id = id});
}

static inline struct ush_reply release(uint64_t user, uint64_t hold, uint32_t id)
{
	return on_hold(USH_OP_RELEASE, user, hold, id);
}

static inline struct ush_reply confirm(uint64_t user, uint64_t hold)
{
	return on_hold(USH_OP_CONFIRM, user, hold, 0);
}

static inline struct ush_reply query(uint64_t user, uint64_t hold)
{
	return on_hold(USH_OP_QUERY_HOLD, user, hold, 0);
}

static inline struct ush_reply set_status(uint64_t status)
{
	return ask((struct ush_request){.op = USH_OP_EVENT_STATUS, .event = EVENT, .arg = status});
}

static inline struct ush_reply house(uint8_t op, uint16_t row, uint64_t mask)
{
	return ask((struct ush_request){.op = op, .event = EVENT, .row = row, .mask = mask});
}

static inline struct ush_event_view view(void)
{
	struct ush_event_view view;

	USH_ASSERT(ush_engine_event_view(h.engine, EVENT, &view));
	return view;
}

static inline bool audit_is_clean(void)
{
	struct ush_message message;
	struct ush_engine_audit audit;

	if (ush_engine_audit(h.engine, &audit, &message) == 0)
		return true;
	printf("# %s\n", message.text);
	return false;
}

/* Lets time pass in steps that the wheel keeps up with. */
static inline void pass(uint64_t ns)
{
	for (uint64_t end = h.now_ns + ns; h.now_ns < end;) {
		h.now_ns = ush_min64(end, h.now_ns + 30 * MS);
		harness_turn(&h, 0, NULL, 0);
		harness_make_durable(&h);
	}
}

/* ---- channels ---- */

/* The key that CHANNEL_KEY tells. */
static inline struct ush_key channel_told(uint32_t channel, uint64_t renew, uint32_t *number)
{
	struct ush_reply reply = ask((struct ush_request){.op = USH_OP_CHANNEL_KEY,
		.event = EVENT,
		.section = (uint16_t)channel,
		.arg = renew});
	const uint8_t *text =
		h.out.send[0].data + USH_REPLY_BYTES + sizeof(struct ush_extension_header);
	struct ush_key key = {0, 0};

	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.size, USH_REPLY_BYTES + 8 + 32);
	for (uint32_t i = 0; i < 32; i++) {
		uint64_t digit = text[i] >= 'a' ? text[i] - 'a' + 10u : text[i] - '0' + 0u;
		uint64_t *half = i < 16 ? &key.k0 : &key.k1;

		CHECK(digit < 16);
		*half |= digit << (8 * (i % 16 / 2) + (i % 2 == 0 ? 4 : 0));
	}
	*number = reply.detail;
	return key;
}

struct channel_ticket {
	struct ush_extension_header header;
	uint64_t tag;
};

static inline struct channel_ticket channel_ticket(
	struct ush_key key, uint32_t number, uint64_t user, uint32_t event, uint32_t channel)
{
	uint32_t words[4] = {(uint32_t)user, (uint32_t)(user >> 32), event, channel};

	return (struct channel_ticket){
		.header = {.type = USH_EXTENSION_CHANNEL,
			.size = sizeof(struct channel_ticket),
			.value = channel | number << 8},
		.tag = ush_siphash(&key, words, sizeof(words)),
	};
}

/* A request with the channel's key, for its user. */
static inline struct ush_reply ask_channel(struct ush_request request, uint32_t channel)
{
	uint32_t number;
	struct ush_key key = channel_told(channel, 0, &number);
	struct channel_ticket extra = channel_ticket(key, number, request.user, EVENT, channel);

	return harness_ask_with(&h, &request, &extra, sizeof(extra), NULL);
}

/* ---- many at once ---- */

static struct ush_packet burst[USH_LOOP_BURST];
static uint32_t burst_count;

/* Adds a request to the burst; its number is its cookie. */
static inline void add(struct ush_request request)
{
	request.cookie = burst_count;
	burst[burst_count++] = harness_packet(&h, &request, NULL, 0);
}

static inline void turn(uint32_t loop)
{
	harness_turn(&h, loop, burst, burst_count);
	burst_count = 0;
}

/* ret: the reply with that cookie among those of the last turn; all 0xff: none. */
static inline struct ush_reply reply_of(uint64_t cookie)
{
	struct ush_reply none;

	for (uint32_t i = 0; i < h.reply_count; i++) {
		if (h.replies[i].cookie == cookie)
			return h.replies[i];
	}
	memset(&none, 0xff, sizeof(none));
	return none;
}

static inline void flush(uint32_t loop)
{
	harness_make_durable(&h);
	turn(loop);
}

static inline struct ush_loop_counters counters(uint32_t loop)
{
	struct ush_loop_counters c;

	ush_loop_counters_read(ush_engine_loop(h.engine, loop), &c);
	return c;
}

static inline bool counters_add_up(void)
{
	for (uint32_t i = 0; i < h.limits.loop_count; i++) {
		struct ush_loop_counters c = counters(i);
		uint64_t sum = 0;

		for (uint32_t k = 0; k < USH_STATUS_COUNT; k++)
			sum += c.status[k];
		for (uint32_t k = 0; k < USH_ANSWER_COUNT; k++)
			sum += c.answer[k];
		for (uint32_t k = 0; k < USH_DROP_COUNT; k++)
			sum += c.drop[k];
		if (c.rx_packets + c.control_messages != sum)
			return false;
	}
	return true;
}

static inline void start_loops(uint32_t loops)
{
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	limits.loop_count = loops;
	start_with(&limits);
}

#endif /* USH_TEST_ASK_H */
