/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records mean, and every contradiction that must be refused, by crafted records.
 *
 * Owns:  an engine under replay.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include "../replay.h"
#include "../tap.h"
#include "hold/hold.h"

#define EVENT 1u
#define SECOND 1000000000ull

static struct harness h;
static struct replay replay;
static struct ush_message message;
static uint64_t sequence;
/* Makes ids as the engine of harness.h does. */
static struct ush_holds ids = {.key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull}};
static uint32_t hold_count;

static uint64_t hold_id(uint32_t index, uint16_t generation)
{
	return ush_hold_id(&ids, index, generation);
}

static int apply_run(struct ush_record *records, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		records[i].sequence = ++sequence;
		records[i].run_index = (uint8_t)i;
		records[i].run_count = (uint8_t)count;
	}
	message.text[0] = 0;
	return ush_engine_apply(h.engine, records, count, &message);
}

static int apply(struct ush_record record)
{
	return apply_run(&record, 1);
}

/* ret: true if the record is refused as corrupt with these words, and the message names it. */
static bool refused(struct ush_record record, const char *words)
{
	char named[64];
	int error = apply(record);

	snprintf(named, sizeof(named), "record %" PRIu64 " ", sequence);
	if (error == -USH_ECORRUPT && strstr(message.text, words) != NULL &&
		strstr(message.text, named) != NULL)
		return true;
	printf("# error %d: %s\n", error, message.text);
	return false;
}

static void open_empty(uint32_t user_count, uint32_t answer_count)
{
	struct ush_engine_limits limits;

	if (h.memory != NULL)
		harness_close(&h);
	harness_limits_small(&limits);
	limits.hold_count = hold_count = 2048;
	limits.user_count = user_count;
	limits.answer_count = answer_count;
	harness_open_for_replay(&h, &limits);
	sequence = 64;
}

static struct ush_record event_record(uint32_t event, uint32_t rows, uint32_t seats)
{
	size_t bytes;
	void *image = harness_image(rows, seats, 60000, &bytes);

	free(replay.images[event]);
	replay_image(&replay, event, image, bytes);
	ush_engine_set_image_find(h.engine, replay_find, &replay);
	return (struct ush_record){.type = USH_RECORD_TYPE_EVENT,
		.event = event,
		.state = USH_EVENT_STATUS_DRAFT,
		.hold = ush_engine_image_digest(image, bytes),
		.mask = rows * seats,
		.amount = rows};
}

/* An engine with event 1 of 4 rows of 10 seats. */
static void open_event(void)
{
	open_empty(4096, 8192);
	CHECK_EQ(apply(event_record(EVENT, 4, 10)), 0);
}

static struct ush_record held(uint32_t index, uint64_t user, uint16_t row, uint64_t mask)
{
	return (struct ush_record){.type = USH_RECORD_TYPE_HOLD,
		.state = USH_HOLD_STATE_HELD,
		.event = EVENT,
		.user = user,
		.hold = hold_id(index, 1),
		.mask = mask,
		.request_id = index,
		.digest = 99,
		.row = row,
		.version = 1,
		.amount = 2500,
		.deadline_ns = HARNESS_START + 60 * SECOND};
}

/* What becomes of a hold, as its next record. */
static struct ush_record then(struct ush_record hold, enum ush_record_type type)
{
	hold.type = (uint8_t)type;
	hold.version = 2;
	hold.request_id = type == USH_RECORD_TYPE_RELEASE ? hold.request_id + 1 : 0;
	return hold;
}

static struct ush_engine_audit audit(void)
{
	struct ush_engine_audit sums;

	CHECK_EQ(ush_engine_audit(h.engine, &sums, &message), 0);
	return sums;
}

/* ---- what records mean ---- */

/* Goal: hold, release, expiry and sale leave the seats, holds and users they should. */
static void test_apply_life_of_a_hold_is_followed(void)
{
	struct ush_record one = held(1, 7, 0, 0x3), two = held(2, 7, 0, 0xc),
			  three = held(3, 8, 1, 0x1);

	open_event();
	CHECK_EQ(apply(one), 0);
	CHECK_EQ(apply(two), 0);
	CHECK_EQ(apply(three), 0);
	CHECK_EQ(audit().held_seats, 5);
	CHECK_EQ(audit().held_holds, 3);
	two.request_id = 5;
	CHECK_EQ(apply(then(two, USH_RECORD_TYPE_RELEASE)), 0);
	CHECK_EQ(ush_engine_hold_state(h.engine, two.hold), USH_HOLD_STATE_FREE);
	CHECK_EQ(apply(then(three, USH_RECORD_TYPE_EXPIRE)), 0);
	CHECK_EQ(apply(then(one, USH_RECORD_TYPE_CONFIRM)), 0);
	CHECK_EQ(ush_engine_hold_state(h.engine, one.hold), USH_HOLD_STATE_SOLD);
	CHECK_EQ(audit().held_seats, 0);
	CHECK_EQ(audit().sold_seats, 2);
	CHECK_EQ(audit().free_seats, 38);
}

/* Goal: a run of eight legs is one hold, and ends as one. */
static void test_apply_run_of_legs_is_one_hold(void)
{
	struct ush_record legs[4];

	open_event();
	for (uint32_t i = 0; i < 4; i++) {
		legs[i] = held(1, 7, (uint16_t)i, 0x3ff);
		if (i > 0)
			legs[i].hold = 10 + i;
	}
	CHECK_EQ(apply_run(legs, 4), 0);
	CHECK_EQ(audit().held_seats, 40);
	CHECK_EQ(audit().held_holds, 1);
	CHECK_EQ(apply(then(legs[0], USH_RECORD_TYPE_EXPIRE)), 0);
	CHECK_EQ(audit().free_seats, 40);
	/* All four lines are free again. */
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(apply(held(i == 0 ? 1 : 10 + i, 7, (uint16_t)i, 1)), 0);
}

/* Goal: after replay the engine answers a repeat as the box did: hold, last sequence, state. */
static void test_apply_accepted_ids_are_answered_after_replay(void)
{
	struct ush_engine_resume resume;
	struct ush_record legs[2] = {held(1, 7, 0, 1), held(1, 7, 1, 1)};
	struct ush_request query = {
		.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 7, .hold = legs[0].hold};
	struct ush_reply reply;

	open_event();
	legs[1].hold = 20;
	CHECK_EQ(apply_run(legs, 2), 0);
	CHECK_EQ(apply((struct ush_record){.type = USH_RECORD_TYPE_EVENT_STATUS,
			 .event = EVENT,
			 .state = USH_EVENT_STATUS_PAUSED}),
		0);
	ush_log_start_at(ush_engine_log(h.engine), 640);
	ush_engine_replayed(h.engine, HARNESS_START, &resume);
	CHECK_EQ(resume.live_holds, 1);
	reply = harness_ask(&h, &query);
	CHECK_EQ(reply.status, USH_STATUS_OK);
	CHECK_EQ(reply.amount, 5000);
	CHECK_EQ(reply.deadline_ns, legs[0].deadline_ns);
	/* The last record of the change, as before the restart. */
	CHECK_EQ(reply.sequence, legs[1].sequence);
	/* The same id with another body. */
	query = harness_reserve(EVENT, 7, 1, 0, 1);
	CHECK_EQ(harness_ask(&h, &query).status, USH_STATUS_MISMATCH);
	query = harness_reserve(EVENT, 7, 2, 2, 1);
	CHECK_EQ(harness_ask(&h, &query).status, USH_STATUS_NOT_ON_SALE);
}

/* Goal: RESUME gives every live hold the time of the outage, and no other; times are kept. */
static void test_apply_resume_moves_live_deadlines(void)
{
	struct ush_engine_resume resume;
	struct ush_record live = held(1, 7, 0, 1), sold = held(2, 7, 0, 2);
	struct ush_request query = {.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 7};
	uint64_t credit = 90 * SECOND;

	open_event();
	CHECK_EQ(apply(live), 0);
	CHECK_EQ(apply(sold), 0);
	CHECK_EQ(apply(then(sold, USH_RECORD_TYPE_CONFIRM)), 0);
	CHECK_EQ(apply((struct ush_record){
			 .type = USH_RECORD_TYPE_TICK, .deadline_ns = HARNESS_START + 5}),
		0);
	CHECK_EQ(apply((struct ush_record){.type = USH_RECORD_TYPE_RESUME,
			 .deadline_ns = HARNESS_START + 3,
			 .mask = credit}),
		0);
	ush_engine_replayed(h.engine, HARNESS_START, &resume);
	CHECK_EQ(resume.time_ns, HARNESS_START + 5);
	query.hold = live.hold;
	CHECK_EQ(harness_ask(&h, &query).deadline_ns, live.deadline_ns + credit);
	query.hold = sold.hold;
	CHECK_EQ(harness_ask(&h, &query).deadline_ns, sold.deadline_ns);
}

/* Goal: a RESUME is a sign of life, so that the next start does not give the same outage again. */
static void test_apply_resume_counts_as_time(void)
{
	struct ush_engine_resume resume;

	open_event();
	CHECK_EQ(apply((struct ush_record){.type = USH_RECORD_TYPE_RESUME,
			 .deadline_ns = HARNESS_START + 7,
			 .mask = 1}),
		0);
	ush_engine_replayed(h.engine, HARNESS_START, &resume);
	CHECK_EQ(resume.time_ns, HARNESS_START + 7);
}

/* Goal: house seats come and go with their records. */
static void test_apply_block_and_unblock_are_followed(void)
{
	struct ush_record legs[2] = {
		{.type = USH_RECORD_TYPE_BLOCK, .event = EVENT, .row = 0, .mask = 0xf},
		{.type = USH_RECORD_TYPE_BLOCK, .event = EVENT, .row = 1, .mask = 0x30}};

	open_event();
	CHECK_EQ(apply_run(legs, 2), 0);
	CHECK_EQ(audit().house_seats, 6);
	legs[0].type = USH_RECORD_TYPE_UNBLOCK;
	legs[0].mask = 0x3;
	CHECK_EQ(apply_run(legs, 1), 0);
	CHECK_EQ(audit().house_seats, 4);
	CHECK_EQ(audit().free_seats, 36);
}

/* ---- contradictions ---- */

/* Goal: types and runs must be as the table says. */
static void test_apply_type_or_run_wrong_is_refused(void)
{
	struct ush_record legs[2];

	open_event();
	CHECK(refused((struct ush_record){.type = 0}, "unknown record type"));
	CHECK(refused((struct ush_record){.type = USH_RECORD_TYPE_COUNT}, "unknown record type"));
	CHECK(refused((struct ush_record){.type = 255}, "unknown record type"));
	for (uint32_t fault = 0; fault < 4; fault++) {
		legs[0] = held(1, 7, 0, 1);
		legs[1] = held(1, 7, 1, 1);
		for (uint32_t i = 0; i < 2; i++) {
			legs[i].run_index = (uint8_t)i;
			legs[i].run_count = 2;
		}
		if (fault == 0)
			legs[1].run_index = 0;
		else if (fault == 1)
			legs[0].run_count = 3;
		else if (fault == 2)
			legs[1].type = USH_RECORD_TYPE_BLOCK;
		else
			legs[1].event = EVENT + 1;
		CHECK(ush_engine_apply(h.engine, legs, 2, &message) == -USH_ECORRUPT);
		CHECK(strstr(message.text, "a run is not whole") != NULL);
	}
	for (uint8_t type = 1; type < USH_RECORD_TYPE_COUNT; type++) {
		if (type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_BLOCK ||
			type == USH_RECORD_TYPE_UNBLOCK || type == USH_RECORD_TYPE_CUT ||
			type == USH_RECORD_TYPE_REFUND_BEGIN ||
			type == USH_RECORD_TYPE_REFUND_END || type == USH_RECORD_TYPE_SWAP ||
			type == USH_RECORD_TYPE_LATE || type == USH_RECORD_TYPE_KEEP ||
			type == USH_RECORD_TYPE_USER_TIME || type == USH_RECORD_TYPE_OFFER ||
			type == USH_RECORD_TYPE_WAIT_OPEN || type == USH_RECORD_TYPE_ROOM_OPEN ||
			type == USH_RECORD_TYPE_ROOM_DRAW || type == USH_RECORD_TYPE_PRICES)
			continue;
		legs[0] = legs[1] = (struct ush_record){.type = type, .event = EVENT};
		CHECK(apply_run(legs, 2) == -USH_ECORRUPT);
		CHECK(strstr(message.text, "has no legs") != NULL);
	}
}

/* Goal: a HOLD must fit the state: event, row, seats, line, id, version, user, request id. */
static void test_apply_hold_contradiction_is_refused(void)
{
	struct ush_record r, legs[2];

	open_event();
	CHECK_EQ(apply(held(1, 7, 0, 0x3)), 0);
	r = held(2, 7, 0, 1);
	r.event = 2;
	CHECK(refused(r, "unknown event"));
	CHECK(refused(held(2, 7, 4, 1), "no such row"));
	CHECK(refused(held(2, 7, 0, 0x400), "no such seat"));
	CHECK(refused(held(2, 7, 0, 0), "no such seat"));
	CHECK(refused(held(2, 7, 0, 0x6), "held or sold already"));
	CHECK(refused(held(1, 7, 0, 0x4), "line is in use"));
	r = held(2, 7, 0, 0x4);
	r.hold ^= 1ull << 63;
	CHECK(refused(r, "not a hold id of this box"));
	r.hold = hold_id(hold_count, 1);
	CHECK(refused(r, "not a hold id of this box"));
	r = held(2, 7, 0, 0x4);
	r.version = 2;
	CHECK(refused(r, "has version 1"));
	legs[0] = held(2, 7, 0, 0x4);
	legs[1] = held(2, 7, 1, 0x4);
	for (uint32_t i = 0; i < 2; i++) {
		open_event();
		legs[1].hold = i == 0 ? 0 : hold_count;
		CHECK(apply_run(legs, 2) == -USH_ECORRUPT);
		CHECK(strstr(message.text, "no such hold line") != NULL);
	}
	open_event();
	legs[1].hold = 2;
	CHECK(apply_run(legs, 2) == -USH_ECORRUPT);
	CHECK(strstr(message.text, "line is in use") != NULL);
	open_event();
	CHECK(refused(held(2, 0, 0, 0x4), "no user"));
	open_event();
	r = held(2, 7, 0, 0x4);
	r.request_id = 0;
	CHECK(refused(r, "below the user's window"));
}

/* Goal: an id that was accepted must have been in the window then. */
static void test_apply_request_id_below_window_is_refused(void)
{
	struct ush_record r = held(1, 7, 0, 1);

	open_event();
	r.request_id = 100;
	CHECK_EQ(apply(r), 0);
	r = held(2, 7, 0, 2);
	r.request_id = 37;
	CHECK_EQ(apply(r), 0);
	r = held(3, 7, 0, 4);
	r.request_id = 36;
	CHECK(refused(r, "below the user's window"));
}

/* Goal: what ends or sells a hold must name one that lives, by its id, version, user and event. */
static void test_apply_transition_contradiction_is_refused(void)
{
	static const uint8_t types[] = {
		USH_RECORD_TYPE_RELEASE, USH_RECORD_TYPE_EXPIRE, USH_RECORD_TYPE_CONFIRM};

	for (uint32_t i = 0; i < 3; i++) {
		struct ush_record hold = held(1, 7, 0, 1), r;

		open_event();
		CHECK_EQ(apply(event_record(2, 1, 1)), 0);
		CHECK_EQ(apply(hold), 0);
		r = then(hold, types[i]);
		r.event = 3;
		CHECK(refused(r, "unknown event"));
		r.event = 2;
		CHECK(refused(r, "another user's or another event's"));
		r = then(hold, types[i]);
		r.user = 8;
		CHECK(refused(r, "another user's or another event's"));
		r = then(hold, types[i]);
		r.hold ^= 1ull << 50;
		CHECK(refused(r, "not a hold id of this box"));
		r.hold = hold_id(1, 2);
		CHECK(refused(r, "of another generation"));
		r.hold = hold_id(5, 0);
		CHECK(refused(r, "not in the state"));
		r = then(hold, types[i]);
		for (uint32_t version = 0; version < 5; version++) {
			r.version = (uint16_t)version;
			if (version != 2)
				CHECK(refused(r, "versions have a gap"));
		}
		r.version = 2;
		CHECK_EQ(apply(r), 0);
		/* Once is enough. */
		r.version = 3;
		CHECK(refused(r, "not in the state"));
	}
}

/* Goal: a user never gives back more seats than it has. Method: its 16-bit count comes round. */
static void test_apply_user_with_too_few_seats_is_refused(void)
{
	struct ush_record r = {0};
	uint32_t id = 0;

	open_empty(4096, 8192);
	CHECK_EQ(apply(event_record(EVENT, 1025, 64)), 0);
	for (uint32_t row = 0; row < 1024; row++) {
		r = held(row + 1, 7, (uint16_t)row, ~0ull);
		r.request_id = ++id;
		CHECK_EQ(apply(r), 0);
	}
	r = then(r, USH_RECORD_TYPE_EXPIRE);
	CHECK(refused(r, "fewer seats than the hold"));
}

/* Goal: only free seats are blocked, only house seats unblocked. */
static void test_apply_house_contradiction_is_refused(void)
{
	struct ush_record r = {
		.type = USH_RECORD_TYPE_BLOCK, .event = EVENT, .row = 0, .mask = 0x3};

	open_event();
	CHECK_EQ(apply(held(1, 7, 0, 1)), 0);
	CHECK(refused(r, "to be blocked is not free"));
	r.mask = 0x2;
	CHECK_EQ(apply(r), 0);
	CHECK(refused(r, "to be blocked is not free"));
	r.row = 4;
	CHECK(refused(r, "no such row"));
	r.row = 0;
	r.mask = 0x400;
	CHECK(refused(r, "no such seat"));
	r.type = USH_RECORD_TYPE_UNBLOCK;
	r.mask = 0x6;
	CHECK(refused(r, "to be unblocked is not blocked"));
	r.mask = 0x1;
	CHECK(refused(r, "to be unblocked is not blocked"));
	r.event = 9;
	CHECK(refused(r, "unknown event"));
}

static int find_none(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *bytes, struct ush_message *out)
{
	(void)context;
	(void)digest;
	(void)image;
	(void)bytes;
	ush_message_set(out, "no image of event %u", event_id);
	return -USH_ENOENT;
}

/* Goal: an event is loaded once, from the image that its record names. */
static void test_apply_event_contradiction_is_refused(void)
{
	struct ush_record r;

	open_empty(64, 64);
	r = event_record(EVENT, 4, 10);
	ush_engine_set_image_find(h.engine, NULL, NULL);
	CHECK(refused(r, "no venue images at hand"));
	ush_engine_set_image_find(h.engine, find_none, NULL);
	CHECK(apply(r) == -USH_ENOENT);
	CHECK(strstr(message.text, "no image of event 1") != NULL);
	r = event_record(EVENT, 4, 10);
	r.mask = 41;
	CHECK(refused(r, "not the one that was loaded"));
	r.mask = 40;
	CHECK_EQ(apply(r), 0);
	CHECK(refused(r, "loaded already"));
	r = (struct ush_record){.type = USH_RECORD_TYPE_EVENT_STATUS, .event = EVENT};
	for (uint32_t state = 0; state < 256; state++) {
		r.state = (uint8_t)state;
		if (state < USH_EVENT_STATUS_DRAFT || state > USH_EVENT_STATUS_CANCELLED)
			CHECK(refused(r, "unknown event status"));
	}
	r.state = USH_EVENT_STATUS_CANCELLED;
	CHECK_EQ(apply(r), 0);
	r.state = USH_EVENT_STATUS_ON_SALE;
	CHECK(refused(r, "the event is cancelled"));
	r.event = 2;
	r.state = USH_EVENT_STATUS_ON_SALE;
	CHECK(refused(r, "unknown event"));
}

/* Goal: limits smaller than the journal needs are told as such. Method: more users than a bucket
 * has lines; more answers than there are. */
static void test_apply_limits_too_small_are_named(void)
{
	int error = 0;

	open_empty(64, 8192);
	CHECK_EQ(apply(event_record(EVENT, 4, 64)), 0);
	for (uint32_t i = 1; i <= 64; i++)
		CHECK_EQ(apply(held(i, i, 0, 1ull << (i - 1))), 0);
	CHECK(apply(held(65, 65, 1, 1)) == -USH_EFULL);
	CHECK(strstr(message.text, "[limits] users") != NULL);
	open_empty(4096, 64);
	CHECK_EQ(apply(event_record(EVENT, 4, 64)), 0);
	for (uint32_t i = 1; i <= 64 && error == 0; i++)
		error = apply(held(i, i, 0, 1ull << (i - 1)));
	CHECK(error == -USH_EFULL);
	CHECK(strstr(message.text, "[limits] answers") != NULL);
}

int main(void)
{
	replay_init(&replay);
	TAP_RUN(test_apply_life_of_a_hold_is_followed);
	TAP_RUN(test_apply_run_of_legs_is_one_hold);
	TAP_RUN(test_apply_accepted_ids_are_answered_after_replay);
	TAP_RUN(test_apply_resume_moves_live_deadlines);
	TAP_RUN(test_apply_resume_counts_as_time);
	TAP_RUN(test_apply_block_and_unblock_are_followed);
	TAP_RUN(test_apply_type_or_run_wrong_is_refused);
	TAP_RUN(test_apply_hold_contradiction_is_refused);
	TAP_RUN(test_apply_request_id_below_window_is_refused);
	TAP_RUN(test_apply_transition_contradiction_is_refused);
	TAP_RUN(test_apply_user_with_too_few_seats_is_refused);
	TAP_RUN(test_apply_house_contradiction_is_refused);
	TAP_RUN(test_apply_event_contradiction_is_refused);
	TAP_RUN(test_apply_limits_too_small_are_named);
	harness_close(&h);
	replay_free(&replay);
	return tap_end();
}
