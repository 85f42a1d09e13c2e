/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waiting room of many users in one process, without ports and disk: frames in, replies out, the
 * log written and called durable at once. First everybody joins, then the lobby is drawn, then
 * everybody asks for the position of the own ticket; turns of 64 frames, only turns are timed.
 *
 * Owns:  one engine, a tag for each user.
 * Reads: /proc/self/statm.
 * Never: DPDK.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../harness.h"
#include "loop/internal.h"
#include "room/merkle.h"

#define BURST 64u
#define PAYLOAD_AT 42u
#define BUFFER_BYTES 2432u
/* Far from any divisor of a number of users that one would ask for. */
#define STRIDE 7368787u

struct ticket {
	struct ush_extension_header header;
	uint64_t number;
	uint64_t tag;
};

static struct harness h;
static uint8_t buffers[BURST][BUFFER_BYTES];
static uint64_t *tags;
static uint32_t users;

static uint64_t clock_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static uint64_t rss_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	if (file != NULL)
		fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t user_of(uint32_t n)
{
	return ush_mix64(n + 1ull) | 1;
}

static struct ush_packet frame(uint32_t place, uint8_t op, uint32_t n, bool with_ticket)
{
	uint8_t *data = buffers[place];
	uint32_t payload = USH_REQUEST_BYTES + (with_ticket ? (uint32_t)sizeof(struct ticket) : 0);
	uint32_t udp = payload + 8, ip = udp + 20, sum = 0;
	const uint8_t head[PAYLOAD_AT] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0,
		(uint8_t)(ip >> 8), (uint8_t)ip, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77,
		0, 1, 0x30, 0, USH_UDP_PORT >> 8, USH_UDP_PORT & 0xff, (uint8_t)(udp >> 8),
		(uint8_t)udp, 0, 0};
	struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = op,
		.size = (uint16_t)payload,
		.extension_count = with_ticket,
		.event = 1,
		.user = user_of(n)};

	memcpy(data, head, sizeof(head));
	for (uint32_t i = 14; i < 34; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	data[24] = (uint8_t)(sum >> 8);
	data[25] = (uint8_t)sum;
	memcpy(data + PAYLOAD_AT, &request, sizeof(request));
	if (with_ticket) {
		struct ticket ticket = {
			{USH_EXTENSION_TICKET, 0, sizeof(ticket), 0u | 1u << 8}, n, tags[n]};
		memcpy(data + PAYLOAD_AT + sizeof(request), &ticket, sizeof(ticket));
	}
	return (struct ush_packet){.data = data,
		.size = PAYLOAD_AT + payload,
		.capacity = BUFFER_BYTES,
		.handle = data,
		.flags = USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD};
}

/* ret: ns in turns. out: *answered: replies of the status. */
static uint64_t run(uint8_t op, bool with_ticket, uint8_t status, uint32_t *answered)
{
	struct ush_log *log = ush_engine_log(h.engine);
	struct ush_loop *loop = ush_engine_loop(h.engine, 0);
	struct ush_packet packets[BURST];
	uint64_t spent = 0, start;
	uint32_t sent = 0, done = 0, n = 0;

	*answered = 0;
	while (done < users) {
		uint32_t count = users - sent < BURST ? users - sent : BURST;

		for (uint32_t i = 0; i < count; i++) {
			packets[i] = frame(i, op, n, with_ticket);
			/* Joins in order, so that a reply's number is the user's; looks all over.
			 */
			n = with_ticket ? (uint32_t)(((uint64_t)n + STRIDE) % users) : n + 1;
		}
		sent += count;
		h.now_ns += 20000;
		start = clock_ns();
		ush_loop_turn(loop, &h.net, packets, count, h.now_ns, &h.out);
		spent += clock_ns() - start;
		atomic_store_explicit(&log->durable,
			ush_log_reserved(log) & ~(uint64_t)(USH_BLOCK_SLOTS - 1),
			memory_order_release);
		if (count == 0)
			harness_make_durable(&h);
		for (uint32_t i = 0; i < h.out.send_count; i++) {
			struct ush_reply reply;

			memcpy(&reply, h.out.send[i].data + h.out.send[i].payload_at,
				sizeof(reply));
			*answered += reply.status == status;
			if (!with_ticket && reply.status == USH_STATUS_OK)
				tags[reply.amount] = reply.hold;
		}
		done += h.out.send_count;
	}
	return spent;
}

static uint64_t control(uint64_t arg, uint8_t type, void *body, uint32_t bytes)
{
	struct {
		struct ush_request request;
		struct ush_extension_header header;
		uint8_t body[sizeof(struct ush_room_open)];
	} m = {.request = {.op = USH_OP_ROOM_CONTROL, .event = 1, .arg = arg},
		.header = {type, 0, (uint16_t)(sizeof(m.header) + bytes), 1}};
	struct ush_reply reply;

	if (bytes != 0)
		memcpy(m.body, body, bytes);
	m.request.extension_count = bytes != 0;
	if (arg == USH_ROOM_ACTION_DRAW)
		ush_engine_room_prepare(h.engine, (const uint8_t *)&m, sizeof(m));
	reply = harness_ask_with(&h, &m.request, &m.header,
		bytes != 0 ? (uint32_t)sizeof(m.header) + bytes : 0, NULL);
	if (reply.status != USH_STATUS_OK) {
		fprintf(stderr, "bench-room: action %" PRIu64 ": status %u\n", arg, reply.status);
		exit(1);
	}
	return reply.amount;
}

static void open_engine(void)
{
	struct ush_engine_limits limits = {.loop_count = 1,
		.hold_count = 4096,
		.user_count = 4096,
		.answer_count = 4096,
		.row_count = 4096,
		.room_user_count = users,
		.room_device_count = 1u << 16,
		.log_block_count = 4096,
		.ack_count = 32768};
	struct ush_engine_resume resume;

	harness_open_for_replay(&h, &limits);
	madvise(h.memory, h.memory_bytes, MADV_HUGEPAGE);
	ush_engine_set_hash(h.engine, ush_sha256);
	ush_engine_replayed(h.engine, h.now_ns, &resume);
	memcpy(h.net.mac, "\x02\x00\x00\x00\x00\x01", 6);
	h.net.has_ipv4 = true;
	memcpy(&h.net.ipv4_be, "\x0a\x4d\x00\x01", 4);
	h.net.udp_port_be = (uint16_t)(USH_UDP_PORT >> 8 | USH_UDP_PORT << 8);
	harness_event(&h, 1, 64, 64, 8);
}

int main(int argc, char **argv)
{
	struct ush_room_open opened = {.cap = 0};
	struct ush_room_draw drawn = {.seed = {1}, .beacon = {2}, .beacon_bytes = 32};
	uint64_t before, after, joins_ns, looks_ns, draw_ns, places;
	uint32_t joined, waiting;

	users = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 10000000;
	tags = malloc((size_t)users * sizeof(*tags));
	if (tags == NULL || users == 0)
		return 2;
	memset(tags, 0xff, (size_t)users * sizeof(*tags));
	before = rss_bytes();
	open_engine();
	opened.users = users;
	ush_queue_seed_hash(1, drawn.seed, ush_sha256, opened.seed_hash);
	control(USH_ROOM_ACTION_OPEN, USH_EXTENSION_ROOM_OPEN, &opened, sizeof(opened));
	joins_ns = run(USH_OP_JOIN, false, USH_STATUS_OK, &joined);
	places = control(USH_ROOM_ACTION_CLOSE, 0, NULL, 0);
	draw_ns = clock_ns();
	control(USH_ROOM_ACTION_DRAW, USH_EXTENSION_ROOM_DRAW, &drawn, sizeof(drawn));
	draw_ns = clock_ns() - draw_ns;
	looks_ns = run(USH_OP_POSITION, true, USH_STATUS_WAITING, &waiting);
	after = rss_bytes();
	printf("{\"users\": %u, \"joined\": %u, \"waiting\": %u, \"joins_per_s\": %" PRIu64
	       ", \"checks_per_s\": %" PRIu64 ", \"draw_ms\": %" PRIu64 ", \"rss_bytes\": %" PRIu64
	       ", \"room_bytes\": %zu}\n",
		users, joined, waiting, (uint64_t)users * (uint64_t)1000000000 / joins_ns,
		(uint64_t)users * (uint64_t)1000000000 / looks_ns, draw_ns / 1000000,
		after - before, ush_rooms_bytes(users));
	free(tags);
	return places == users && joined == users && waiting == users ? 0 : 1;
}
