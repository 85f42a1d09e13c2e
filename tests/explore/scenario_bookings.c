/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of bookings against what changes them: none that was there is missing, none is told
 * twice.
 */
#include "explore/engine.h"
#include "explore/scenarios.h"

#define REFUND (1ull << 32)

static struct ush_request about(uint8_t op, uint64_t user, uint32_t hold, uint64_t arg)
{
	return (struct ush_request){.op = op,
		.event = PLAY_EVENT,
		.user = user,
		.hold = play->holds[hold],
		.section = 2,
		.arg = arg};
}

/* Two sold holds of users 1 and 2. The first changes hands, or is refunded by half, while the list
 * is made; a third thread holds what is free. */
static void list_setup(uint32_t threads)
{
	struct ush_request list = {.op = USH_OP_BOOKINGS, .event = PLAY_EVENT, .arg = REFUND};
	struct ush_request give, take = harness_reserve(PLAY_EVENT, 2, 5, 1, 0x1);

	play_open(threads);
	for (uint32_t i = 0; i < 2; i++) {
		struct ush_request confirm;

		play->holds[i] = play_hold(1 + i, 1, 0x3ull << 2 * i, 0);
		confirm = about(USH_OP_CONFIRM, 1 + i, i, 0);
		confirm.section = 0;
		EXPECT(harness_ask(&play->harness, &confirm).status == USH_STATUS_OK);
	}
	play_ask(0, &list, NULL);
	give = about(USH_OP_TRANSFER, 1, 0, 3);
	play_ask(1, &give, NULL);
	if (threads > 2)
		play_ask(2, &take, NULL);
	play_ready();
}

/* ret: bit i = the setup's hold i is in the page; twice is a failure. */
static uint32_t found_in(const struct ush_reply *reply, const struct ush_packet *packet)
{
	const uint8_t *at = packet->data + packet->payload_at + USH_REPLY_BYTES;
	struct ush_extension_header header;
	uint32_t found = 0;

	if (reply->extension_count == 0)
		return 0;
	memcpy(&header, at, sizeof(header));
	EXPECT(header.type == USH_EXTENSION_BOOKINGS);
	for (uint32_t i = 0; i < header.value; i++) {
		struct ush_booking entry;
		uint32_t bit;

		memcpy(&entry, at + sizeof(header) + i * sizeof(entry), sizeof(entry));
		EXPECT(entry.hold == play->holds[0] || entry.hold == play->holds[1]);
		bit = entry.hold == play->holds[0] ? 1 : 2;
		EXPECT((found & bit) == 0);
		EXPECT(entry.state == USH_HOLD_STATE_SOLD);
		EXPECT(entry.version == (entry.user == 3 ? 3 : 2));
		found |= bit;
	}
	return found;
}

static void list_oracle(void)
{
	const struct actor *actor = &play->actors[0];
	struct ush_reply reply;
	uint32_t found, pages = 0;

	play_judge();
	reply = actor->replies[0];
	EXPECT(reply.status == USH_STATUS_OK);
	found = found_in(&reply, &actor->packets[0]);
	/* The pages after it, now that it is quiet. */
	while (reply.detail != 0) {
		struct ush_request next = {
			.op = USH_OP_BOOKINGS, .event = PLAY_EVENT, .arg = REFUND | reply.detail};
		uint32_t more;

		EXPECT(++pages < 4);
		reply = harness_ask(&play->harness, &next);
		more = found_in(&reply, &play->harness.out.send[0]);
		EXPECT((found & more) == 0);
		found |= more;
	}
	EXPECT(found == 3);
}

const struct explore_scenario explore_bookings_list = {
	.name = "bookings_list",
	.about = "BOOKINGS against TRANSFER of a booking; a third takes a seat for the other user",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = list_setup,
	.thread = play_thread,
	.oracle = list_oracle,
};
