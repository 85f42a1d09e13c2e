/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one loop costs without ports and disk: turns of 64 frames each, timed one by one. Replies
 * leave as if a write had taken `--in-flight` records.
 *
 * The least of some rounds is the figure to compare: whatever else the machine does only adds.
 *
 * Owns:  one engine.
 * Reads: nothing.
 * Never: DPDK, files.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "../harness.h"

#define BURST 64u
#define PAYLOAD_AT 42u
#define FRAME_BYTES (PAYLOAD_AT + USH_REQUEST_BYTES)
/* As far apart as packet buffers are. */
#define BUFFER_BYTES 2432u
#define ROW_SEATS 64u

struct bench {
	struct harness h;
	uint32_t claims;
	uint32_t users_bits;
	uint32_t in_flight;
	uint64_t done[16];
	uint8_t frame[FRAME_BYTES];
	uint8_t buffers[BURST][BUFFER_BYTES];
};

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static uint64_t sum16(const uint8_t *data, size_t size)
{
	uint64_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2) {
		uint16_t word;
		memcpy(&word, data + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void template_init(struct bench *b)
{
	const uint8_t ip[20] = {
		0x45, 0, 0, 92, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1};
	const struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_RESERVE,
		.size = USH_REQUEST_BYTES,
		.event = 1};
	uint8_t *f = b->frame;
	uint16_t check;

	memcpy(f, b->h.net.mac, 6);
	memcpy(f + 6, "\x02\x00\x00\x00\x00\x02", 6);
	f[12] = 8;
	memcpy(f + 14, ip, sizeof(ip));
	check = fold(sum16(f + 14, sizeof(ip)));
	memcpy(f + 24, &check, sizeof(check));
	f[34] = 0x30;
	f[36] = USH_UDP_PORT >> 8;
	f[37] = USH_UDP_PORT & 0xff;
	f[39] = 8 + USH_REQUEST_BYTES;
	memcpy(f + PAYLOAD_AT, &request, sizeof(request));
}

/* The n-th claim. Checksums are the peer's affair: the receiver is told that they are good. */
static struct ush_packet frame(struct bench *b, uint32_t n, uint32_t place)
{
	uint8_t *data = b->buffers[place];
	uint64_t user = 1 + (n & ((1u << b->users_bits) - 1)), mask = 1ull << (n % ROW_SEATS);
	uint32_t id = 1 + (n >> b->users_bits);
	uint16_t row = (uint16_t)(n / ROW_SEATS);

	memcpy(data, b->frame, FRAME_BYTES);
	memcpy(data + PAYLOAD_AT + offsetof(struct ush_request, request_id), &id, 4);
	memcpy(data + PAYLOAD_AT + offsetof(struct ush_request, user), &user, 8);
	memcpy(data + PAYLOAD_AT + offsetof(struct ush_request, mask), &mask, 8);
	memcpy(data + PAYLOAD_AT + offsetof(struct ush_request, row), &row, 2);
	return (struct ush_packet){.data = data,
		.size = FRAME_BYTES,
		.capacity = BUFFER_BYTES,
		.handle = data,
		.flags = USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD};
}

static void count_replies(struct bench *b)
{
	for (uint32_t i = 0; i < b->h.out.send_count; i++) {
		const struct ush_packet *packet = &b->h.out.send[i];
		uint8_t status =
			packet->data[packet->payload_at + offsetof(struct ush_reply, status)];
		b->done[status & 15]++;
	}
}

/* As a disk does: what was reserved some records ago is durable now. */
static void advance(struct bench *b, struct ush_log *log)
{
	uint64_t reserved = ush_log_reserved(log) & ~(uint64_t)(USH_BLOCK_SLOTS - 1);
	uint64_t durable = ush_log_durable(log);

	if (reserved > durable + b->in_flight)
		atomic_store_explicit(
			&log->durable, reserved - b->in_flight / 64 * 64, memory_order_release);
}

/* ret: nanoseconds in turns. */
static uint64_t run(struct bench *b)
{
	struct ush_log *log = ush_engine_log(b->h.engine);
	struct ush_loop *loop = ush_engine_loop(b->h.engine, 0);
	struct ush_packet packets[BURST];
	uint64_t spent = 0, total = 0;
	uint32_t at = 0;

	memset(b->done, 0, sizeof(b->done));
	while (total < b->claims) {
		uint32_t count = b->claims - at < BURST ? b->claims - at : BURST;
		uint64_t start;

		for (uint32_t i = 0; i < count; i++)
			packets[i] = frame(b, at + i, i);
		at += count;
		b->h.now_ns += 20000;
		if (count != 0)
			advance(b, log);
		else
			harness_make_durable(&b->h);
		start = now_ns();
		ush_loop_turn(loop, &b->h.net, packets, count, b->h.now_ns, &b->h.out);
		spent += now_ns() - start;
		count_replies(b);
		total += b->h.out.send_count;
	}
	return spent;
}

static void open_engine(struct bench *b)
{
	struct ush_engine_resume resume;
	const struct ush_engine_limits limits = {
		.loop_count = 1,
		.hold_count = b->claims + 64,
		.user_count = 2u << b->users_bits,
		.answer_count = b->claims + 64,
		.row_count = b->claims / ROW_SEATS + 64,
		.log_block_count = 4096,
		.ack_count = 32768,
	};
	size_t bytes;
	void *image;

	harness_open_for_replay(&b->h, &limits);
	/* As usherd does with [memory] prefault=yes. */
	madvise(b->h.memory, b->h.memory_bytes, MADV_HUGEPAGE);
	madvise(b->h.memory, b->h.memory_bytes, MADV_POPULATE_WRITE);
	ush_engine_replayed(b->h.engine, b->h.now_ns, &resume);
	memcpy(b->h.net.mac, "\x02\x00\x00\x00\x00\x01", 6);
	b->h.net.has_ipv4 = true;
	memcpy(&b->h.net.ipv4_be, "\x0a\x4d\x00\x01", 4);
	b->h.net.udp_port_be = (uint16_t)(USH_UDP_PORT >> 8 | USH_UDP_PORT << 8);
	image = harness_image((b->claims + ROW_SEATS - 1) / ROW_SEATS, ROW_SEATS, 64, &bytes);
	harness_event_of(&b->h, 1, image, bytes);
	free(image);
	template_init(b);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"claims", 1, NULL, 'n'},
		{"users-bits", 1, NULL, 'u'}, {"in-flight", 1, NULL, 'f'}, {"rounds", 1, NULL, 'r'},
		{0}};
	static struct bench b = {.claims = 1000000, .users_bits = 17, .in_flight = 1024};
	uint32_t rounds = 5;
	double least = 1e9;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint32_t n = optarg != NULL ? (uint32_t)strtoul(optarg, NULL, 0) : 0;

		switch (option) {
		case 'n':
			b.claims = n;
			break;
		case 'u':
			b.users_bits = n;
			break;
		case 'f':
			b.in_flight = n;
			break;
		case 'r':
			rounds = n;
			break;
		default:
			fputs("usage: bench-engine [--claims N] [--users-bits N] [--in-flight N] "
			      "[--rounds N]\n",
				stderr);
			return 2;
		}
	}
	for (uint32_t i = 0; i < rounds; i++) {
		double each;

		open_engine(&b);
		each = (double)run(&b) / b.claims;
		printf("%.1f ns a claim, %" PRIu64 " OK\n", each, b.done[USH_STATUS_OK]);
		least = each < least ? each : least;
		harness_close(&b.h);
	}
	printf("{\"claim_ns\":%.1f}\n", least);
	return b.done[USH_STATUS_OK] == b.claims ? 0 : 1;
}
