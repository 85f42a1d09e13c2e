/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine without ports or disk, for tests: requests go in through the control path, records are
 * called durable by hand, replies come back in order.
 *
 * Owns:  one engine, its memory, the replies not yet looked at.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#ifndef USH_HARNESS_H
#define USH_HARNESS_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "loop/loop.h"

#define HARNESS_PACKETS 256u
#define HARNESS_SECOND 1000000000ull
#define HARNESS_START (1700000000ull * HARNESS_SECOND)

struct harness {
	struct ush_engine_limits limits;
	struct ush_engine *engine;
	void *memory;
	size_t memory_bytes;
	uint64_t now_ns;
	struct ush_net net;
	struct ush_loop_out out;
	/* Replies handed back by the last harness_turn, in order. */
	struct ush_reply replies[USH_LOOP_SEND_MAX];
	uint32_t reply_count;
	uint32_t drop_count;
	uint8_t packets[HARNESS_PACKETS][USH_PAYLOAD_BYTES_MAX];
	uint32_t packet_at;
};

static inline void harness_limits_small(struct ush_engine_limits *limits)
{
	*limits = (struct ush_engine_limits){
		.loop_count = 1,
		.hold_count = 4096,
		.user_count = 4096,
		.answer_count = 8192,
		.row_count = 4096,
		.channel_row_count = 64,
		.wait_count = 256,
		.room_user_count = 512,
		.room_device_count = 64,
		.log_block_count = 256,
		.ack_count = 4096,
	};
}

/* An engine without events whose replay has not ended yet: records may be applied. Its memory is
 * mapped, so that only what is touched costs anything. */
static inline void harness_open_for_replay(
	struct harness *h, const struct ush_engine_limits *limits)
{
	const struct ush_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	struct ush_message message;

	memset(h, 0, sizeof(*h));
	h->limits = *limits;
	h->memory_bytes = ush_engine_bytes(limits, &message);
	USH_ASSERT(h->memory_bytes != 0);
	h->memory = mmap(
		NULL, h->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	USH_ASSERT(h->memory != MAP_FAILED);
	h->engine = ush_engine_init(h->memory, limits, &key);
	h->now_ns = HARNESS_START;
}

static inline void harness_open(struct harness *h, const struct ush_engine_limits *limits)
{
	struct ush_engine_resume resume;

	harness_open_for_replay(h, limits);
	ush_engine_replayed(h->engine, h->now_ns, &resume);
}

static inline void harness_close(struct harness *h)
{
	munmap(h->memory, h->memory_bytes);
}

/* What a venue image is made of. */
struct harness_venue {
	struct ush_venue_header header;
	const struct ush_venue_tier *tiers;
	const struct ush_venue_section *sections;
	const struct ush_venue_row *rows;
};

/* Puts an image's checksum right after something in it was changed. */
static inline void harness_image_seal(void *image, size_t bytes)
{
	const size_t at = offsetof(struct ush_venue_header, crc);
	uint32_t crc = 0;

	memcpy((uint8_t *)image + at, &crc, sizeof(crc));
	crc = ush_crc32c(0, image, bytes);
	memcpy((uint8_t *)image + at, &crc, sizeof(crc));
}

/* Lays a venue out as an image; sets file_bytes, seat_count, labels and the checksum.
 * ret: malloc'd. */
static inline void *harness_image_of(const struct harness_venue *venue, size_t *bytes)
{
	struct ush_venue_header header = venue->header;
	size_t tiers = header.tier_count * sizeof(struct ush_venue_tier);
	size_t sections = header.section_count * sizeof(struct ush_venue_section);
	size_t rows = header.row_count * sizeof(struct ush_venue_row);
	uint8_t *image, *at;

	header.label_bytes = 2;
	header.file_bytes = sizeof(header) + tiers + sections + rows + header.label_bytes;
	header.seat_count = 0;
	for (uint32_t i = 0; i < header.row_count; i++)
		header.seat_count += ush_popcount64(venue->rows[i].seats);
	at = image = malloc(header.file_bytes);
	USH_ASSERT(image != NULL);
	memcpy(at, &header, sizeof(header));
	at += sizeof(header);
	memcpy(at, venue->tiers, tiers);
	at += tiers;
	memcpy(at, venue->sections, sections);
	at += sections;
	memcpy(at, venue->rows, rows);
	at += rows;
	memcpy(at, "{}", 2);
	*bytes = header.file_bytes;
	harness_image_seal(image, *bytes);
	return image;
}

/* A venue image of `rows` rows of `seats` seats in one section at one price. ret: malloc'd. */
static inline void *harness_image(
	uint32_t rows, uint32_t seats, uint32_t user_seats_max, size_t *bytes)
{
	struct ush_venue_tier tier = {.price = 2500};
	struct ush_venue_section section = {.row_first = 0, .row_count = rows};
	struct ush_venue_row *row = calloc(rows, sizeof(*row));
	struct harness_venue venue = {
		.header = {.magic = USH_VENUE_MAGIC,
			.version = USH_VENUE_VERSION,
			.tier_count = 1,
			.section_count = 1,
			.row_count = rows,
			.hold_ms = 60000,
			.hold_ms_max = 600000,
			.user_seats_max = (uint16_t)user_seats_max,
			.currency = "EUR",
			.name = "harness"},
		.tiers = &tier,
		.sections = &section,
		.rows = row,
	};
	void *image;

	USH_ASSERT(row != NULL);
	for (uint32_t i = 0; i < rows; i++)
		row[i].seats = seats == 64 ? ~0ull : (1ull << seats) - 1;
	image = harness_image_of(&venue, bytes);
	free(row);
	return image;
}

/* Adds a control packet for the next turn. `extra` bytes of extensions follow the request. */
static inline struct ush_packet harness_packet(struct harness *h, const struct ush_request *request,
	const void *extra, uint32_t extra_bytes)
{
	uint8_t *data = h->packets[h->packet_at++ % HARNESS_PACKETS];
	struct ush_request copy = *request;

	copy.magic = USH_REQUEST_MAGIC;
	copy.version = USH_VERSION;
	copy.size = (uint16_t)(sizeof(copy) + extra_bytes);
	copy.extension_count = extra_bytes != 0;
	memcpy(data, &copy, sizeof(copy));
	if (extra_bytes != 0)
		memcpy(data + sizeof(copy), extra, extra_bytes);
	return (struct ush_packet){
		.data = data,
		.size = copy.size,
		.capacity = USH_PAYLOAD_BYTES_MAX,
		.handle = data,
		.flags = USH_PACKET_CONTROL,
	};
}

/* Calls everything reserved durable, as if the journal had written it; pads a partial block. */
static inline void harness_make_durable(struct harness *h)
{
	struct ush_log *log = ush_engine_log(h->engine);
	uint64_t reserved = atomic_load(&log->reserved);
	uint64_t end = (reserved + USH_BLOCK_SLOTS - 1) & ~(uint64_t)(USH_BLOCK_SLOTS - 1);

	ush_log_publish_pads(log, reserved, end);
	atomic_store(&log->reserved, end);
	atomic_store(&log->durable, end);
}

/* One turn of a loop; collects the replies that came out. No reply that names a sequence may come
 * out before that sequence is durable. */
static inline void harness_turn(
	struct harness *h, uint32_t loop, const struct ush_packet *packets, uint32_t count)
{
	uint64_t durable = ush_log_durable(ush_engine_log(h->engine));

	ush_loop_turn(
		ush_engine_loop(h->engine, loop), &h->net, packets, count, h->now_ns, &h->out);
	h->reply_count = h->out.send_count;
	h->drop_count = h->out.free_count;
	for (uint32_t i = 0; i < h->out.send_count; i++) {
		const struct ush_packet *packet = &h->out.send[i];
		struct ush_reply *reply = &h->replies[i];

		memcpy(reply, packet->data + packet->payload_at, sizeof(*reply));
		if (reply->magic == USH_REPLY_MAGIC)
			USH_ASSERT(reply->sequence < durable);
	}
}

/* Decides one request and returns its reply, made durable. A request that is dropped returns a
 * reply of all 0xff. */
static inline struct ush_reply harness_ask_with(struct harness *h,
	const struct ush_request *request, const void *extra, uint32_t extra_bytes,
	void *attachment)
{
	struct ush_packet packet = harness_packet(h, request, extra, extra_bytes);
	struct ush_reply none;

	if (attachment != NULL) {
		packet.attachment = attachment;
		packet.flags |= USH_PACKET_ATTACHED;
	}
	harness_turn(h, 0, &packet, 1);
	if (h->reply_count == 0) {
		harness_make_durable(h);
		harness_turn(h, 0, NULL, 0);
	}
	memset(&none, 0xff, sizeof(none));
	return h->reply_count == 1 ? h->replies[0] : none;
}

static inline struct ush_reply harness_ask(struct harness *h, const struct ush_request *request)
{
	return harness_ask_with(h, request, NULL, 0, NULL);
}

/* Loads an event from an image and puts it on sale. */
static inline void harness_event_of(
	struct harness *h, uint32_t event_id, const void *image, size_t bytes)
{
	struct ush_event *event = NULL;
	struct ush_message message = {{0}};
	struct ush_request load = {.op = USH_OP_EVENT_LOAD, .event = event_id};
	struct ush_request sale = {
		.op = USH_OP_EVENT_STATUS, .event = event_id, .arg = USH_EVENT_STATUS_ON_SALE};
	int error = ush_engine_event_build(h->engine, event_id, image, bytes, &event, &message);

	USH_ASSERT(error == 0);
	USH_ASSERT(harness_ask_with(h, &load, NULL, 0, event).status == USH_STATUS_OK);
	USH_ASSERT(harness_ask(h, &sale).status == USH_STATUS_OK);
}

/* Loads an event of `rows` x `seats` and puts it on sale. */
static inline void harness_event(struct harness *h, uint32_t event_id, uint32_t rows,
	uint32_t seats, uint32_t user_seats_max)
{
	size_t bytes;
	void *image = harness_image(rows, seats, user_seats_max, &bytes);

	harness_event_of(h, event_id, image, bytes);
	free(image);
}

static inline struct ush_request harness_reserve(
	uint32_t event, uint64_t user, uint32_t id, uint16_t row, uint64_t mask)
{
	return (struct ush_request){.op = USH_OP_RESERVE,
		.event = event,
		.user = user,
		.request_id = id,
		.row = row,
		.mask = mask};
}

#endif /* USH_HARNESS_H */
