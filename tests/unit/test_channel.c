/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels: who may buy what is off public sale, and where seats go that come back.
 */
#include "ask.h"
#include "claim/channel.h"
#include "replay.h"

#define FAN 2u
#define CLUB 3u

static struct replay history;

/* RESERVE with the channel's key. */
static struct ush_reply buy(
	uint32_t channel, uint64_t user, uint32_t id, uint16_t row, uint64_t mask)
{
	return ask_channel(harness_reserve(EVENT, user, id, row, mask), channel);
}

static struct ush_reply block(uint8_t op, uint32_t channel, uint16_t row, uint64_t mask)
{
	return ask((struct ush_request){
		.op = op, .event = EVENT, .row = row, .mask = mask, .arg = channel});
}

/* Goal: seats of a channel are nobody's but its key's. */
static void test_channel_key_buys_public_does_not(void)
{
	struct ush_reply reply;

	start();
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 1, 0xf).status, USH_STATUS_OK);
	reply = reserve(7, 1, 1, 0x3);
	CHECK_EQ(reply.status, USH_STATUS_TAKEN);
	CHECK_EQ(reply.hold, 0x3);
	CHECK_EQ(buy(CLUB, 7, 2, 1, 0x3).status, USH_STATUS_TAKEN);
	CHECK_EQ(view().house_count, 4);
	reply = buy(FAN, 7, 3, 1, 0x3);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 2 * 2500);
	CHECK_EQ(view().house_count, 2);
	CHECK_EQ(view().free_count, ROWS * SEATS - 4);
	CHECK(audit_is_clean());
	/* Taken is taken, for the channel too. */
	reply = buy(FAN, 8, 1, 1, 0x6);
	CHECK_EQ(reply.status, USH_STATUS_TAKEN);
	CHECK_EQ(reply.hold, 0x2);
	/* Some of the seats may be on public sale. */
	CHECK_EQ(buy(FAN, 8, 2, 1, 0x1c).status, USH_STATUS_OK);
	CHECK_EQ(buy(FAN, 9, 1, 1, 0x30).status, USH_STATUS_TAKEN);
	CHECK_EQ(reserve(9, 2, 1, 0x20).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: all of a claim or none of it, over rows, channel and public seats. */
static void test_channel_claim_is_all_or_nothing(void)
{
	struct {
		struct ush_extension_header header;
		struct ush_leg leg;
		struct channel_ticket ticket;
	} extra = {.header = {.type = USH_EXTENSION_LEGS, .size = 24, .value = 1},
		.leg = {.row = 2, .mask = 0x3}};
	struct ush_request request = harness_reserve(EVENT, 7, 1, 1, 0x3);
	struct ush_reply reply;
	uint32_t number;
	struct ush_key key;

	start();
	block(USH_OP_BLOCK, FAN, 1, 0x1);
	block(USH_OP_BLOCK, FAN, 2, 0x1);
	CHECK_EQ(reserve(8, 1, 2, 0x2).status, USH_STATUS_OK);
	key = channel_told(FAN, 0, &number);
	extra.ticket = channel_ticket(key, number, 7, EVENT, FAN);
	/* harness_packet counts one extension. */
	struct ush_packet packet = harness_packet(&h, &request, &extra, sizeof(extra));
	packet.data[offsetof(struct ush_request, extension_count)] = 2;
	harness_turn(&h, 0, &packet, 1);
	reply = h.replies[0];
	CHECK_EQ(reply.status, USH_STATUS_TAKEN);
	CHECK_EQ(reply.detail, 1);
	CHECK_EQ(reply.hold, 0x2);
	CHECK(audit_is_clean());
	CHECK_EQ(buy(FAN, 9, 1, 1, 0x3).status, USH_STATUS_OK);
	CHECK_EQ(buy(FAN, 9, 2, 2, 0x1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: a key is good for one user, event, channel, and until it is replaced. */
static void test_channel_tag_wrong_is_refused(void)
{
	uint32_t number, next;
	struct ush_key key, newer;
	struct ush_request request = harness_reserve(EVENT, 7, 1, 1, 0x1);

	start();
	block(USH_OP_BLOCK, FAN, 1, 0xf);
	key = channel_told(FAN, 0, &number);
	for (uint32_t fault = 0; fault < 5; fault++) {
		struct channel_ticket extra = channel_ticket(key, number, fault == 0 ? 8 : 7,
			fault == 1 ? OTHER : EVENT, fault == 2 ? CLUB : FAN);
		struct ush_reply reply;

		if (fault == 3)
			extra.tag ^= 1;
		if (fault == 4)
			extra.header.value += 256;
		if (fault == 2)
			extra.header.value = FAN | number << 8;
		reply = harness_ask_with(&h, &request, &extra, sizeof(extra), NULL);
		CHECK_EQ(reply.status, USH_STATUS_CHANNEL);
	}
	/* Nothing of that used up the request id. */
	CHECK_EQ(buy(FAN, 7, 1, 1, 0x1).status, USH_STATUS_OK);
	newer = channel_told(FAN, 1, &next);
	CHECK_EQ(next, number + 1);
	CHECK(newer.k0 != key.k0 && newer.k1 != key.k1);
	struct channel_ticket old = channel_ticket(key, number, 7, EVENT, FAN);
	request.request_id = 2;
	request.mask = 2;
	CHECK_EQ(
		harness_ask_with(&h, &request, &old, sizeof(old), NULL).status, USH_STATUS_CHANNEL);
	CHECK_EQ(buy(FAN, 7, 2, 1, 0x2).status, USH_STATUS_OK);
	/* The same id with another channel is another body. */
	CHECK_EQ(buy(CLUB, 7, 2, 1, 0x2).status, USH_STATUS_MISMATCH);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_CHANNEL_KEY, .event = EVENT, .section = 16})
			 .detail,
		USH_FAULT_CHANNEL);
	CHECK_EQ(block(USH_OP_BLOCK, 16, 1, 1).detail, USH_FAULT_CHANNEL);
}

/* Goal: what was bought stays told when its key is replaced: the client asks again with what it
 * sent. usher-sim found it answered CHANNEL (seed 384). */
static void test_channel_repeat_after_new_key_is_told_again(void)
{
	struct ush_request request = harness_reserve(EVENT, 7, 1, 1, 0x1);
	struct channel_ticket sent;
	struct ush_reply first, again;
	uint32_t number;
	struct ush_key key;

	start();
	block(USH_OP_BLOCK, FAN, 1, 0xf);
	key = channel_told(FAN, 0, &number);
	sent = channel_ticket(key, number, 7, EVENT, FAN);
	first = harness_ask_with(&h, &request, &sent, sizeof(sent), NULL);
	CHECK_EQ(first.status, USH_STATUS_OK);
	channel_told(FAN, 1, &number);
	again = harness_ask_with(&h, &request, &sent, sizeof(sent), NULL);
	CHECK_EQ(again.status, USH_STATUS_OK);
	CHECK_EQ(again.detail, 1);
	CHECK_EQ(again.hold, first.hold);
	/* A new request with the old key gets nothing. */
	request.request_id = 2;
	request.mask = 2;
	CHECK_EQ(harness_ask_with(&h, &request, &sent, sizeof(sent), NULL).status,
		USH_STATUS_CHANNEL);
	CHECK(audit_is_clean());
}

/* Goal: seats of a channel that come back are the channel's: released, cut, expired, refunded. */
static void test_channel_seats_come_back_to_it(void)
{
	struct ush_reply reply;
	uint64_t hold;

	start();
	block(USH_OP_BLOCK, FAN, 1, 0x3f);
	hold = buy(FAN, 7, 1, 1, 0x1f).hold;
	CHECK_EQ(view().house_count, 1);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_RELEASE,
			     .event = EVENT,
			     .user = 7,
			     .hold = hold,
			     .request_id = 2,
			     .row = 1,
			     .mask = 1})
			 .status,
		USH_STATUS_OK);
	CHECK_EQ(view().house_count, 2);
	CHECK_EQ(reserve(8, 1, 1, 0x1).status, USH_STATUS_TAKEN);
	CHECK(audit_is_clean());
	CHECK_EQ(release(7, hold, 3).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 6);
	CHECK(audit_is_clean());
	/* Expiry, of a hold that is half public. */
	CHECK_EQ(buy(FAN, 7, 4, 1, 0x60).status, USH_STATUS_OK);
	pass(61000 * MS);
	CHECK_EQ(view().house_count, 6);
	CHECK_EQ(reserve(8, 2, 1, 0x20).status, USH_STATUS_TAKEN);
	CHECK_EQ(reserve(8, 3, 1, 0x40).status, USH_STATUS_OK);
	/* Refund. */
	hold = buy(FAN, 7, 5, 1, 0x3).hold;
	CHECK_EQ(confirm(7, hold).status, USH_STATUS_OK);
	reply = query(7, hold);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_REFUND_BEGIN,
			     .event = EVENT,
			     .user = 7,
			     .hold = hold,
			     .section = reply.hold_version})
			 .status,
		USH_STATUS_OK);
	CHECK_EQ(ask((struct ush_request){.op = USH_OP_REFUND_END,
			     .event = EVENT,
			     .user = 7,
			     .hold = hold,
			     .section = (uint16_t)(reply.hold_version + 1),
			     .arg = USH_OUTCOME_SUCCEEDED})
			 .status,
		USH_STATUS_OK);
	CHECK_EQ(view().house_count, 6);
	CHECK_EQ(reserve(8, 4, 1, 0x1).status, USH_STATUS_TAKEN);
	CHECK_EQ(buy(FAN, 8, 5, 1, 0x1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: BLOCK and UNBLOCK change the seats of the one they name and no others'. */
static void test_channel_blocks_and_unblocks_its_own(void)
{
	start();
	CHECK_EQ(block(USH_OP_BLOCK, 0, 1, 0x1).status, USH_STATUS_OK);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 1, 0x1).status, USH_STATUS_TAKEN);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 1, 0x6).status, USH_STATUS_OK);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 1, 0xe).status, USH_STATUS_OK);
	CHECK_EQ(block(USH_OP_BLOCK, CLUB, 1, 0x18).status, USH_STATUS_TAKEN);
	CHECK_EQ(block(USH_OP_BLOCK, 0, 1, 0x8).status, USH_STATUS_TAKEN);
	CHECK_EQ(view().house_count, 4);
	CHECK_EQ(block(USH_OP_UNBLOCK, 0, 1, 0xf).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 3);
	CHECK_EQ(block(USH_OP_UNBLOCK, CLUB, 1, 0xf).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 3);
	CHECK_EQ(buy(FAN, 7, 1, 1, 0x2).status, USH_STATUS_OK);
	/* What is held stays the channel's. */
	CHECK_EQ(block(USH_OP_UNBLOCK, FAN, 1, 0xf).status, USH_STATUS_OK);
	CHECK_EQ(view().house_count, 0);
	CHECK_EQ(reserve(8, 1, 1, 0xd).status, USH_STATUS_OK);
	pass(61000 * MS);
	CHECK_EQ(view().house_count, 1);
	CHECK_EQ(reserve(8, 2, 1, 0x2).status, USH_STATUS_TAKEN);
	CHECK_EQ(block(USH_OP_UNBLOCK, FAN, 1, 0x2).status, USH_STATUS_OK);
	CHECK_EQ(reserve(8, 3, 1, 0x2).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* Goal: an event that is sold out for all but a channel still sells to that. */
static void test_channel_sells_when_the_rest_is_sold(void)
{
	start();
	block(USH_OP_BLOCK, FAN, 0, 0x3ff);
	for (uint16_t row = 1; row < ROWS; row++) {
		uint64_t hold = reserve(100u + row, 1, row, 0x3ff).hold;
		CHECK_EQ(confirm(100u + row, hold).status, USH_STATUS_OK);
	}
	CHECK_EQ(reserve(7, 1, 0, 1).status, USH_STATUS_SOLD_OUT);
	CHECK_EQ(buy(FAN, 7, 1, 0, 1).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
}

/* The masks that QUERY_SECTION shows of row 1. */
static uint64_t shown(uint32_t channel)
{
	struct ush_request request = {.op = USH_OP_QUERY_SECTION, .event = EVENT};
	struct ush_reply reply = channel != 0 ? ask_channel(request, channel) : ask(request);
	uint64_t mask;

	CHECK_EQ(reply.status, USH_STATUS_OK);
	memcpy(&mask,
		h.out.send[0].data + USH_REPLY_BYTES + sizeof(struct ush_extension_header) + 8, 8);
	return mask;
}

/* Goal: a channel's customers see their seats, others do not. */
static void test_channel_seats_are_shown_to_it(void)
{
	start();
	block(USH_OP_BLOCK, FAN, 1, 0xf);
	CHECK_EQ(shown(0), 0x3f0);
	CHECK_EQ(shown(CLUB), 0x3f0);
	CHECK_EQ(shown(FAN), 0x3ff);
	buy(FAN, 7, 1, 1, 0x3);
	CHECK_EQ(shown(FAN), 0x3fc);
	CHECK_EQ(shown(0), 0x3f0);
}

/* Goal: no more rows in channels than there is room for, and a clear answer. */
static void test_channel_without_room_is_busy(void)
{
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	limits.channel_row_count = 2;
	start_with(&limits);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 0, 1).status, USH_STATUS_OK);
	CHECK_EQ(block(USH_OP_BLOCK, CLUB, 0, 2).status, USH_STATUS_OK);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 1, 1).status, USH_STATUS_BUSY);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 0, 4).status, USH_STATUS_OK);
	CHECK(audit_is_clean());
	limits.channel_row_count = 0;
	start_with(&limits);
	CHECK_EQ(block(USH_OP_BLOCK, FAN, 0, 1).status, USH_STATUS_BUSY);
	CHECK_EQ(block(USH_OP_BLOCK, 0, 0, 1).status, USH_STATUS_OK);
	CHECK_EQ(buy(FAN, 7, 1, 0, 1).status, USH_STATUS_TAKEN);
}

/* ---- against a model ---- */

enum place {
	FREE,
	HOUSE,
	OF_FAN,
	OF_CLUB
};

/* Where each seat of row 1 lives, and who has it (0: nobody). */
static struct {
	enum place home[SEATS];
	uint64_t held_by[SEATS];
	uint64_t hold[SEATS];
} model;

static uint64_t mask_where(bool held, enum place home)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < SEATS; i++)
		mask |= (uint64_t)((model.held_by[i] != 0) == held && model.home[i] == home) << i;
	return mask;
}

static void random_step(struct ush_random *random, uint32_t *id)
{
	uint64_t mask = (ush_random_below(random, 3) + 1) << ush_random_below(random, SEATS - 1);
	uint32_t who = (uint32_t)ush_random_below(random, 3);
	enum place home = who == 0 ? FREE : who == 1 ? OF_FAN : OF_CLUB;
	uint32_t channel = who == 0 ? 0 : who == 1 ? FAN : CLUB;
	uint64_t free = mask_where(false, FREE), user = 1 + ush_random_below(random, 3);
	uint32_t seat = (uint32_t)ush_random_below(random, SEATS);
	struct ush_reply reply;
	bool fits;

	switch (ush_random_below(random, 6)) {
	case 0:
	case 1:
		fits = (mask & ~(free | (who != 0 ? mask_where(false, home) : 0))) == 0;
		reply = who == 0 ? reserve(user, ++*id, 1, mask)
				 : buy(channel, user, ++*id, 1, mask);
		CHECK_EQ(reply.status, fits ? USH_STATUS_OK : USH_STATUS_TAKEN);
		for (uint32_t i = 0; i < SEATS && fits; i++) {
			if ((mask >> i & 1) == 0)
				continue;
			model.held_by[i] = user;
			model.hold[i] = reply.hold;
		}
		break;
	case 2:
	case 3:
		if (model.held_by[seat] == 0)
			break;
		user = model.held_by[seat];
		reply = release(user, model.hold[seat], ++*id);
		CHECK_EQ(reply.status, USH_STATUS_OK);
		for (uint32_t i = 0, k = seat; i < SEATS; i++) {
			if (i != k && model.hold[i] == model.hold[k])
				model.held_by[i] = model.hold[i] = 0;
		}
		model.held_by[seat] = model.hold[seat] = 0;
		break;
	case 4:
		home = who == 0 ? HOUSE : home;
		fits = (mask & ~(free | mask_where(false, home))) == 0;
		reply = block(USH_OP_BLOCK, channel, 1, mask);
		CHECK_EQ(reply.status, fits ? USH_STATUS_OK : USH_STATUS_TAKEN);
		for (uint32_t i = 0; i < SEATS && fits; i++)
			model.home[i] = (mask >> i & 1) != 0 ? home : model.home[i];
		break;
	default:
		home = who == 0 ? HOUSE : home;
		mask &= mask_where(false, home);
		if (mask == 0)
			break;
		CHECK_EQ(block(USH_OP_UNBLOCK, channel, 1, mask).status, USH_STATUS_OK);
		for (uint32_t i = 0; i < SEATS; i++)
			model.home[i] = (mask >> i & 1) != 0 ? FREE : model.home[i];
		break;
	}
}

/* Applies the history to a new engine and compares what it knows with the running one. */
static void check_replay(void)
{
	struct harness again;
	struct ush_engine_limits limits = h.limits;
	struct ush_engine_audit audit;
	struct ush_engine_resume resume;
	struct ush_message message = {{0}};
	struct ush_event_view now = view(), then;
	int error = 0;

	harness_open_for_replay(&again, &limits);
	ush_engine_set_image_find(again.engine, replay_find, &history);
	for (size_t i = 0; i < history.count && error == 0; i += history.records[i].run_count)
		error = ush_engine_apply(
			again.engine, &history.records[i], history.records[i].run_count, &message);
	if (error != 0)
		printf("# %s\n", message.text);
	CHECK_EQ(error, 0);
	ush_engine_replayed(again.engine, h.now_ns, &resume);
	CHECK_EQ(ush_engine_audit(again.engine, &audit, &message), 0);
	CHECK(ush_engine_event_view(again.engine, EVENT, &then));
	CHECK_EQ(then.house_count, now.house_count);
	CHECK_EQ(then.free_count, now.free_count);
	harness_close(&again);
}

/* Goal: whatever is blocked, bought, given back and unblocked, each seat is where it belongs, and
 * replay agrees. Method: random steps on one row against a list of seats. */
static void test_channel_random_steps_agree_with_model(void)
{
	struct ush_random random;
	uint32_t id = 0, keeps = 0;
	size_t bytes;

	ush_random_init(&random, tap_seed(5));
	replay_init(&history);
	for (uint32_t event = EVENT; event <= OTHER; event++) {
		void *image = harness_image(ROWS, SEATS, LIMIT, &bytes);
		replay_image(&history, event, image, bytes);
	}
	start();
	memset(&model, 0, sizeof(model));
	for (uint32_t i = 0; i < 3000; i++) {
		random_step(&random, &id);
		CHECK_EQ(shown(0), mask_where(false, FREE));
		CHECK_EQ(shown(FAN), mask_where(false, FREE) | mask_where(false, OF_FAN));
		if (i % 10 == 0)
			CHECK(audit_is_clean());
		harness_make_durable(&h);
		replay_collect(&history, ush_engine_log(h.engine));
		if (i % 300 == 299)
			check_replay();
	}
	for (size_t i = 0; i < history.count; i++)
		keeps += history.records[i].type == USH_RECORD_TYPE_KEEP;
	CHECK(keeps > 100);
	replay_free(&history);
}

int main(void)
{
	TAP_RUN(test_channel_key_buys_public_does_not);
	TAP_RUN(test_channel_claim_is_all_or_nothing);
	TAP_RUN(test_channel_tag_wrong_is_refused);
	TAP_RUN(test_channel_repeat_after_new_key_is_told_again);
	TAP_RUN(test_channel_seats_come_back_to_it);
	TAP_RUN(test_channel_blocks_and_unblocks_its_own);
	TAP_RUN(test_channel_sells_when_the_rest_is_sold);
	TAP_RUN(test_channel_seats_are_shown_to_it);
	TAP_RUN(test_channel_without_room_is_busy);
	TAP_RUN(test_channel_random_steps_agree_with_model);
	harness_close(&h);
	return tap_end();
}
