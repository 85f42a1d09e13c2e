/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user peer as cheap as can be: keeps a window of requests in flight and counts what comes
 * back, so that the same generator measures usherd and a plain echo on the same pair of devices.
 *
 * Closed loop: throughput only. `usher load` measures latency.
 *
 * Owns:  one DPDK port.
 * Reads: nothing.
 * Never: retries, tracks, or checks seats; usher load and usher verify do.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include "base/base.h"
#include "wire/wire.h"

#define BURST 64u
#define FRAME_BYTES (14u + 20u + 8u + USH_REQUEST_BYTES)
#define PAYLOAD_AT 42u
#define PEER_MTU 256u
/* With --pack. */
#define PEER_MTU_PACKED 1500u
/* Both rings, a cache, and what is on its way between them. */
#define PEER_BUFFERS 4095u

enum mode {
	MODE_CLAIM,
	MODE_REFUSE,
	MODE_TAKEN,
	MODE_MIXED,
	/* All of one row; one seat of each row, in an order that caches do not guess. */
	MODE_HOT,
	MODE_UNIFORM
};

struct bench {
	enum mode mode;
	uint32_t window;
	uint64_t milliseconds;
	uint64_t requests;
	uint32_t event;
	uint32_t event_refuse;
	uint32_t row_seats;
	uint32_t rows;
	/* Neighbours that a request of MODE_CLAIM asks for at once; divides row_seats. */
	uint32_t basket;
	uint64_t user_base;
	/* Begin only at a line from the standard input, end only at another. */
	bool wait;
	/* A power of two: each claims seat after seat, far apart, one request after another. */
	uint32_t claim_users;
	uint32_t claim_users_bits;
	/* Messages in a datagram. */
	uint32_t pack;
	uint16_t port;
	struct rte_mempool *pool;
	uint8_t frame[FRAME_BYTES];
	uint64_t sum_base;
	/* Requests made, and those of them that the device has taken; the others are kept. */
	uint64_t made;
	uint64_t sent;
	struct rte_mbuf *unsent[BURST];
	uint32_t unsent_first;
	uint32_t unsent_end;
	uint64_t claims;
	uint64_t received;
	uint64_t lost;
	uint64_t status[256];
};

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

/* Sum of a 64-bit field's four 16-bit words. */
static uint64_t sum64(uint64_t value)
{
	return (value & 0xffff) + (value >> 16 & 0xffff) + (value >> 32 & 0xffff) + (value >> 48);
}

static void template_init(struct bench *b, const uint8_t *peer_mac)
{
	uint8_t *f = b->frame;
	struct ush_request request = {
		.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_RESERVE,
		.size = USH_REQUEST_BYTES,
	};
	const uint8_t ip[20] = {
		0x45, 0, 0, 92, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1};
	uint16_t check;

	memcpy(f, peer_mac, 6);
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
	if (b->pack > 1) {
		uint32_t l4 = 8 + b->pack * USH_REQUEST_BYTES;

		f[16] = (uint8_t)((20 + l4) >> 8);
		f[17] = (uint8_t)(20 + l4);
		f[24] = f[25] = 0;
		check = fold(sum16(f + 14, sizeof(ip)));
		memcpy(f + 24, &check, sizeof(check));
		f[38] = (uint8_t)(l4 >> 8);
		f[39] = (uint8_t)l4;
	}
	/* Pseudo header: addresses, protocol, length; then UDP header and payload. */
	b->sum_base = sum16(f + 26, 8) + ((uint64_t)17 << 8) + sum16(f + 38, 2) + sum16(f + 34, 8) +
		      b->pack * sum16(f + PAYLOAD_AT, USH_REQUEST_BYTES);
}

struct fields {
	uint64_t user;
	uint64_t mask;
	uint32_t event;
	uint32_t request_id;
	uint16_t row;
};

static struct fields choose(struct bench *b)
{
	uint64_t n = b->made;
	struct fields f = {.user = b->user_base + n, .event = b->event, .request_id = 1};
	bool claim = b->mode == MODE_CLAIM || (b->mode == MODE_MIXED && n % 10 == 0);

	if (claim && b->claims < (uint64_t)b->rows * b->row_seats / b->basket) {
		f.row = (uint16_t)(b->claims * b->basket / b->row_seats);
		f.mask = (UINT64_MAX >> (64 - b->basket)) << (b->claims * b->basket % b->row_seats);
		f.user = b->user_base + (b->claims & (b->claim_users - 1));
		f.request_id = (uint32_t)(1 + (b->claims >> b->claim_users_bits));
		b->claims++;
	} else if (b->mode == MODE_HOT) {
		f.mask = 1ull << (n % b->row_seats);
	} else if (b->mode == MODE_UNIFORM) {
		f.row = (uint16_t)(n * 2654435761u % b->rows);
		f.mask = 1;
	} else if (b->mode == MODE_REFUSE || (b->mode == MODE_MIXED && n % 2 == 0)) {
		f.event = b->event_refuse;
		f.mask = 1ull << (n % b->row_seats);
	} else {
		/* Seats of the first rows, taken long ago. */
		f.row = (uint16_t)(n & 15);
		f.mask = 1;
	}
	return f;
}

/* Puts the next request into a message. ret: what it adds to the sum. */
static uint64_t fill_message(struct bench *b, uint8_t *message)
{
	struct fields f = choose(b);

	memcpy(message, b->frame + PAYLOAD_AT, USH_REQUEST_BYTES);
	memcpy(message + offsetof(struct ush_request, event), &f.event, 4);
	memcpy(message + offsetof(struct ush_request, request_id), &f.request_id, 4);
	memcpy(message + offsetof(struct ush_request, user), &f.user, 8);
	memcpy(message + offsetof(struct ush_request, mask), &f.mask, 8);
	memcpy(message + offsetof(struct ush_request, row), &f.row, 2);
	b->made++;
	return sum64(f.event) + sum64(f.user) + sum64(f.mask) + f.row + f.request_id;
}

static void fill(struct bench *b, struct rte_mbuf *m)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint64_t sum = b->sum_base;
	uint16_t check;

	memcpy(data, b->frame, PAYLOAD_AT);
	for (uint32_t i = 0; i < b->pack; i++)
		sum += fill_message(b, data + PAYLOAD_AT + i * USH_REQUEST_BYTES);
	check = fold(sum);
	if (check == 0)
		check = 0xffff;
	memcpy(data + 40, &check, sizeof(check));
	m->data_len = (uint16_t)(PAYLOAD_AT + b->pack * USH_REQUEST_BYTES);
	m->pkt_len = m->data_len;
}

/* The box has, or had, the lines of the buffer: brings them all here at once. */
static void fetch(struct rte_mbuf *m)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);

	USH_PREFETCH_WRITE(data);
	USH_PREFETCH_WRITE(data + USH_CACHE_LINE);
}

/* ret: datagrams made at once. */
static uint32_t burst(const struct bench *b)
{
	return (BURST + b->pack - 1) / b->pack;
}

/* Sends a burst. What the ring has no room for is kept, and goes before anything new is made: a
 * full ring costs the generator nothing. */
static void send_burst(struct bench *b)
{
	uint16_t done;

	if (b->unsent_first == b->unsent_end) {
		uint32_t count = burst(b);

		if (rte_pktmbuf_alloc_bulk(b->pool, b->unsent, count) != 0)
			return;
		for (uint32_t i = 0; i < count; i++)
			fetch(b->unsent[i]);
		for (uint32_t i = 0; i < count; i++)
			fill(b, b->unsent[i]);
		b->unsent_first = 0;
		b->unsent_end = count;
	}
	done = rte_eth_tx_burst(b->port, 0, b->unsent + b->unsent_first,
		(uint16_t)(b->unsent_end - b->unsent_first));
	b->unsent_first += done;
	b->sent += (uint64_t)done * b->pack;
}

static uint32_t receive_burst(struct bench *b)
{
	struct rte_mbuf *m[BURST];
	uint16_t count = rte_eth_rx_burst(b->port, 0, m, BURST);

	for (uint32_t i = 0; i < count; i++)
		fetch(m[i]);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *data = rte_pktmbuf_mtod(m[i], const uint8_t *);

		/* Base replies only, one or some in a datagram. */
		for (uint32_t at = PAYLOAD_AT; at + USH_REPLY_BYTES <= m[i]->data_len;
			at += USH_REPLY_BYTES) {
			b->status[data[at + offsetof(struct ush_reply, status)]]++;
			b->received++;
		}
	}
	if (count != 0)
		rte_pktmbuf_free_bulk(m, count);
	return count;
}

/* Asks the scheduler for slices of 0.1 ms, so that the kernel's own work (disk completions on this
 * core) does not wait until this spinning thread has used up a slice of 3 ms. */
static void short_slices(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {.size = sizeof(attributes), .runtime = 100000};

	if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
		fprintf(stderr, "bench-peer: this kernel knows no short slices\n");
}

/* Polling flat out would take the box's share of a core that has two hardware threads. */
static void give_way(void)
{
	for (int i = 0; i < 8; i++)
		rte_pause();
}

static void run(struct bench *b)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc();
	uint64_t end = start + b->milliseconds * hz / 1000, quiet = start;
	double seconds;

	while (b->received + b->lost < b->requests) {
		uint64_t now = rte_rdtsc();
		if (now >= end)
			break;
		if (b->sent < b->requests &&
			b->sent - b->received - b->lost + burst(b) * b->pack <= b->window)
			send_burst(b);
		if (receive_burst(b) != 0)
			quiet = now;
		else
			give_way();
		/* Nothing for 100 ms although a window is out: it was dropped on the way. */
		if (now - quiet > hz / 10 && b->sent != b->received + b->lost) {
			b->lost = b->sent - b->received;
			quiet = now;
		}
	}
	seconds = (double)(rte_rdtsc() - start) / (double)hz;
	printf("{\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"seconds\":%.4f,\"per_second\":%.0f,\"ok\":%" PRIu64 ",\"ok_per_second\":%.0f",
		b->sent, b->received, b->lost, seconds, (double)b->received / seconds,
		b->status[USH_STATUS_OK], (double)b->status[USH_STATUS_OK] / seconds);
	for (uint32_t i = 1; i < 256; i++) {
		if (b->status[i] != 0)
			printf(",\"status_%u\":%" PRIu64, i, b->status[i]);
	}
	printf("}\n");
}

static void open_port(struct bench *b)
{
	struct rte_eth_conf conf;
	struct rte_eth_link link;

	memset(&conf, 0, sizeof(conf));
	/* Small buffers, dealt out last in, first out: what is measured is the box, not the misses
	 * of its peer. */
	uint16_t mtu = b->pack > 1 ? PEER_MTU_PACKED : PEER_MTU;

	conf.rxmode.mtu = mtu;
	b->port = rte_eth_find_next(0);
	if (b->port >= RTE_MAX_ETHPORTS)
		rte_exit(1, "bench-peer: no port; pass --vdev after --\n");
	b->pool = rte_pktmbuf_pool_create_by_ops("bench", PEER_BUFFERS, 256, 0,
		(uint16_t)(RTE_PKTMBUF_HEADROOM + mtu + 64), SOCKET_ID_ANY, "lf_stack");
	if (b->pool == NULL || rte_eth_dev_configure(b->port, 1, 1, &conf) != 0 ||
		rte_eth_rx_queue_setup(
			b->port, 0, 1024, (unsigned int)SOCKET_ID_ANY, NULL, b->pool) != 0 ||
		rte_eth_tx_queue_setup(b->port, 0, 1024, (unsigned int)SOCKET_ID_ANY, NULL) != 0 ||
		rte_eth_dev_start(b->port) != 0)
		rte_exit(1, "bench-peer: cannot start the port\n");
	/* 30 s: a memif server is there before the box. */
	for (int i = 0; i < 1500; i++) {
		rte_eth_link_get_nowait(b->port, &link);
		if (link.link_status)
			break;
		rte_delay_us_sleep(20000);
	}
	rte_delay_us_sleep(200000);
}

/* Says a word, and goes on when it is told to. */
static void wait_for_word(const char *word)
{
	int c;

	fputs(word, stdout);
	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

/* Any MAC will do for an echo; usherd wants its own, which ARP tells. */
static void learn_mac(struct bench *b, uint8_t *mac)
{
	static const uint8_t ask[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 10, 77, 0,
		1};
	struct rte_mbuf *m[BURST];

	memset(mac, 0xff, 6);
	for (int try = 0; try < 200; try++) {
		struct rte_mbuf *one = rte_pktmbuf_alloc(b->pool);
		if (one != NULL) {
			memcpy(rte_pktmbuf_append(one, 60), ask, sizeof(ask));
			if (rte_eth_tx_burst(b->port, 0, &one, 1) == 0)
				rte_pktmbuf_free(one);
		}
		rte_delay_us_sleep(2000);
		uint16_t count = rte_eth_rx_burst(b->port, 0, m, BURST);
		bool found = false;
		for (uint32_t i = 0; i < count; i++) {
			const uint8_t *data = rte_pktmbuf_mtod(m[i], const uint8_t *);
			if (data[12] == 8 && data[13] == 6) {
				memcpy(mac, data + 22, 6);
				found = true;
			}
		}
		if (count != 0)
			rte_pktmbuf_free_bulk(m, count);
		if (found)
			return;
	}
	rte_exit(1, "bench-peer: 10.77.0.1 does not answer ARP\n");
}

static const char usage[] =
	"usage: bench-peer [--mode claim|refuse|taken|mixed|hot|uniform] [--window N] [--ms N]\n"
	"                  [--requests N]\n"
	"                  [--event N] [--refuse-event N] [--rows N] [--row-seats N] [--basket N] [--pack N]\n"
	"                  [--user-base N] [--claim-users N] [--echo] [--wait]\n"
	"                  -- EAL-ARGUMENT...\n";

static enum mode parse_mode(const char *text)
{
	static const char *const names[] = {"claim", "refuse", "taken", "mixed", "hot", "uniform"};

	for (int i = 0; i < 6; i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum mode)i;
	}
	rte_exit(2, "%s", usage);
}

/* ret: false if the command line is none of ours. */
static bool parse_options(int argc, char **argv, struct bench *b, bool *echo)
{
	static const struct option options[] = {{"mode", 1, NULL, 'm'}, {"window", 1, NULL, 'w'},
		{"ms", 1, NULL, 't'}, {"requests", 1, NULL, 'n'}, {"event", 1, NULL, 'e'},
		{"refuse-event", 1, NULL, 'f'}, {"rows", 1, NULL, 'r'}, {"row-seats", 1, NULL, 's'},
		{"user-base", 1, NULL, 'u'}, {"claim-users", 1, NULL, 'c'},
		{"basket", 1, NULL, 'k'}, {"pack", 1, NULL, 'p'}, {"echo", 0, NULL, 'E'},
		{"wait", 0, NULL, 'W'}, {0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg != NULL ? strtoull(optarg, NULL, 0) : 0;
		switch (option) {
		case 'm':
			b->mode = parse_mode(optarg);
			break;
		case 'w':
			b->window = (uint32_t)n;
			break;
		case 't':
			b->milliseconds = n;
			break;
		case 'n':
			b->requests = n;
			break;
		case 'e':
			b->event = (uint32_t)n;
			break;
		case 'f':
			b->event_refuse = (uint32_t)n;
			break;
		case 'r':
			b->rows = (uint32_t)n;
			break;
		case 's':
			b->row_seats = (uint32_t)n;
			break;
		case 'u':
			b->user_base = n;
			break;
		case 'c':
			b->claim_users = ush_pow2_ceil32((uint32_t)n);
			break;
		case 'k':
			b->basket = (uint32_t)n;
			break;
		case 'p':
			b->pack = (uint32_t)n;
			break;
		case 'E':
			*echo = true;
			break;
		case 'W':
			b->wait = true;
			break;
		default:
			return false;
		}
	}
	return b->pack - 1 < USH_PAYLOAD_BYTES_MAX / USH_REQUEST_BYTES &&
	       b->basket - 1 < b->row_seats && b->row_seats % b->basket == 0;
}

int main(int argc, char **argv)
{
	struct bench b = {.window = 2048,
		.milliseconds = 2000,
		.requests = UINT64_MAX,
		.event = 1,
		.event_refuse = 2,
		.row_seats = 64,
		.rows = 65536,
		.basket = 1,
		.pack = 1,
		.claim_users = 1u << 19,
		.user_base = 1};
	uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	bool echo = false;

	if (!parse_options(argc, argv, &b, &echo)) {
		fputs(usage, stderr);
		return 2;
	}
	b.claim_users_bits = (uint32_t)__builtin_ctz(b.claim_users);
	argv[optind - 1] = argv[0];
	if (rte_eal_init(argc - optind + 1, argv + optind - 1) < 0)
		return 1;
	open_port(&b);
	if (!echo)
		learn_mac(&b, mac);
	template_init(&b, mac);
	if (b.wait)
		wait_for_word("ready\n");
	short_slices();
	run(&b);
	/* Until nobody asks the box any more: memif's driver may crash who stays. */
	if (b.wait)
		wait_for_word("");
	rte_eth_dev_stop(b.port);
	rte_eal_cleanup();
	return 0;
}
