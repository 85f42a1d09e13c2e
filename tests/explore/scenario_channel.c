/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seats of a channel: its customers against one another, against the end of the channel, and
 * against the public, while seats come back.
 */
#include "claim/channel.h"
#include "explore/engine.h"
#include "explore/scenarios.h"

#define CHANNEL 2u

struct ticket {
	struct ush_extension_header header;
	uint64_t tag;
};

static struct ush_reply settle(struct ush_request request)
{
	return harness_ask(&play->harness, &request);
}

/* The tag under the key that the box tells. */
static struct ticket ticket_of(uint64_t user)
{
	struct ush_key key = {0, 0};
	uint8_t *text;

	EXPECT(settle((struct ush_request){
			      .op = USH_OP_CHANNEL_KEY, .event = PLAY_EVENT, .section = CHANNEL})
			.status == USH_STATUS_OK);
	text = play->harness.out.send[0].data + USH_REPLY_BYTES + 8;
	for (uint32_t i = 0; i < 32; i++) {
		uint64_t digit = text[i] >= 'a' ? text[i] - 'a' + 10u : text[i] - '0' + 0u;

		*(i < 16 ? &key.k0 : &key.k1) |= digit << (i % 16 / 2 * 8 + (i % 2 == 0 ? 4 : 0));
	}
	return (struct ticket){
		.header = {.type = USH_EXTENSION_CHANNEL,
			.size = sizeof(struct ticket),
			.value = CHANNEL},
		.tag = ush_siphash_2(&key, user, PLAY_EVENT | (uint64_t)CHANNEL << 32),
	};
}

static struct ush_request house(uint8_t op, uint64_t mask)
{
	return (struct ush_request){.op = op, .event = PLAY_EVENT, .mask = mask, .arg = CHANNEL};
}

static void ask_channel(uint32_t index, uint64_t user, uint64_t mask)
{
	struct ush_request request = harness_reserve(PLAY_EVENT, user, 5, 0, mask);
	struct ticket ticket = ticket_of(user);

	play_ask_with(index, &request, &ticket, sizeof(ticket));
}

static void ask_public(uint32_t index, uint64_t user, uint64_t mask)
{
	struct ush_request request = harness_reserve(PLAY_EVENT, user, 5, 0, mask);

	play_ask(index, &request, NULL);
}

static bool won(uint32_t actor)
{
	uint32_t status = play_status(actor, 0);

	EXPECT(status == USH_STATUS_OK || status == USH_STATUS_TAKEN ||
		status == USH_STATUS_TAKEN_NOW || status == USH_STATUS_RETRY);
	return status == USH_STATUS_OK;
}

static void name_channel(void)
{
	struct ush_channel_row *row =
		ush_channel_find(&play->harness.engine->channels, PLAY_EVENT, 0, CHANNEL);

	explore_name(&row->free, "channel free");
	explore_name(&row->seats, "channel seats");
}

/* ---- the same seats ---- */

static void seats_setup(uint32_t threads)
{
	static const uint64_t masks[] = {0x3, 0x6, 0xc};

	play_open(threads);
	EXPECT(settle(house(USH_OP_BLOCK, 0x7)).status == USH_STATUS_OK);
	for (uint32_t i = 0; i < threads; i++)
		ask_channel(i, 1 + i, masks[i]);
	play_ready();
	name_channel();
}

static void seats_oracle(void)
{
	uint32_t winners = 0;

	play_judge();
	for (uint32_t i = 0; i < play->loops; i++)
		winners += won(i);
	EXPECT(winners >= 1);
	EXPECT(!won(0) || !won(1));
}

const struct explore_scenario explore_channel_seats = {
	.name = "channel_seats",
	.about = "RESERVE of overlapping seats with a channel's key, one of them public",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = seats_setup,
	.thread = play_thread,
	.oracle = seats_oracle,
};

/* ---- the end of a channel ---- */

static void unblock_setup(uint32_t threads)
{
	struct ush_request end = house(USH_OP_UNBLOCK, 0xf);

	play_open(threads);
	EXPECT(settle(house(USH_OP_BLOCK, 0x3)).status == USH_STATUS_OK);
	play_ask(0, &end, NULL);
	ask_channel(1, 1, 0x1);
	if (threads > 2)
		ask_public(2, 2, 0x3);
	play_ready();
	name_channel();
}

static void unblock_oracle(void)
{
	const struct ush_event *event =
		ush_inventory_event(&play->harness.engine->inventory, PLAY_EVENT);

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(atomic_load(&event->rows[0].house) == 0);
	EXPECT(play->loops < 3 || !won(1) || !won(2));
}

const struct explore_scenario explore_channel_unblock = {
	.name = "channel_unblock",
	.about = "UNBLOCK of a channel against its customer; a third wants the seats for free",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = unblock_setup,
	.thread = play_thread,
	.oracle = unblock_oracle,
};

/* ---- seats that come back ---- */

static void return_setup(uint32_t threads)
{
	struct ush_request take = harness_reserve(PLAY_EVENT, 1, 1, 0, 0x3), release;
	struct ticket ticket;

	play_open(threads);
	EXPECT(settle(house(USH_OP_BLOCK, 0x1)).status == USH_STATUS_OK);
	ticket = ticket_of(1);
	play->holds[0] =
		harness_ask_with(&play->harness, &take, &ticket, sizeof(ticket), NULL).hold;
	release = (struct ush_request){.op = USH_OP_RELEASE,
		.event = PLAY_EVENT,
		.user = 1,
		.hold = play->holds[0],
		.request_id = 5};
	play_ask(0, &release, NULL);
	/* Of what comes back one seat is the channel's. */
	ask_public(1, 2, 0x3);
	if (threads > 2)
		ask_channel(2, 3, 0x1);
	play_ready();
	name_channel();
}

static void return_oracle(void)
{
	const struct ush_event *event =
		ush_inventory_event(&play->harness.engine->inventory, PLAY_EVENT);

	play_judge();
	EXPECT(play_status(0, 0) == USH_STATUS_OK);
	EXPECT(!won(1));
	EXPECT(atomic_load(&event->rows[0].house) == (play->loops > 2 && won(2) ? 0 : 1));
}

const struct explore_scenario explore_channel_return = {
	.name = "channel_return",
	.about = "RELEASE of seats of a channel; the public and the channel's customer want them",
	.threads_max = 3,
	.bound = {3, 2},
	.setup = return_setup,
	.thread = play_thread,
	.oracle = return_oracle,
};
