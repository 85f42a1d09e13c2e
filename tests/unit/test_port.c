/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue's backlog and the clock, on a device made of two functions: it takes as many frames as
 * the test says, and gives those that the test made.
 *
 * Owns:  the fake device; EAL without huge pages, devices or files.
 * Reads: nothing.
 * Never: needs privileges.
 */
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "loop/loop.h"
#include "port/clock.h"
#include "port/port.h"
#include "tap.h"

#define FRAMES_MAX 4096u
#define MS 1000000ull

static struct rte_mempool *pool;
static struct ush_engine *engine;
static struct ush_port port;
static struct ush_port_queue queue;
/* Frames the device still takes; order numbers of those it took. */
static uint32_t takes;
static uint32_t took[FRAMES_MAX];
static uint32_t took_count;
/* Frames the device gives. */
static struct rte_mbuf *gives[USH_LOOP_BURST];
static uint32_t gives_count;

static uint16_t fake_tx(void *data, struct rte_mbuf **mbufs, uint16_t count)
{
	uint16_t i;

	(void)data;
	for (i = 0; i < count && takes != 0; i++, takes--) {
		USH_ASSERT(took_count < FRAMES_MAX);
		memcpy(&took[took_count++], rte_pktmbuf_mtod(mbufs[i], uint8_t *) + 60, 4);
		rte_pktmbuf_free(mbufs[i]);
	}
	return i;
}

static uint16_t fake_rx(void *data, struct rte_mbuf **mbufs, uint16_t count)
{
	uint16_t i;

	(void)data;
	for (i = 0; i < count && gives_count != 0; i++)
		mbufs[i] = gives[--gives_count];
	return i;
}

static void start(void)
{
	static void *data[1];

	memset(&port, 0, sizeof(port));
	memset(&queue, 0, sizeof(queue));
	queue.port = &port;
	queue.loop = ush_engine_loop(engine, 0);
	queue.patience_ns = 10 * MS;
	rte_eth_fp_ops[0].tx_pkt_burst = fake_tx;
	rte_eth_fp_ops[0].rx_pkt_burst = fake_rx;
	rte_eth_fp_ops[0].txq.data = data;
	rte_eth_fp_ops[0].rxq.data = data;
	takes = 0;
	took_count = 0;
}

/* Makes replies first to first + count - 1, status OK. */
static void make(struct ush_packet *packets, uint32_t first, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
		uint32_t number = first + i;

		if (mbuf == NULL)
			abort();
		packets[i] = (struct ush_packet){
			.data = rte_pktmbuf_mtod(mbuf, uint8_t *),
			.size = 106,
			.capacity = 2048,
			.handle = mbuf,
			.payload_at = 42,
			.family = 4,
		};
		memset(packets[i].data, 0, 106);
		memcpy(packets[i].data + 60, &number, 4);
	}
}

static uint64_t counted_drops(void)
{
	struct ush_loop_counters counters;

	ush_loop_counters_read(queue.loop, &counters);
	return counters.drop[USH_DROP_TX_FULL];
}

static uint32_t buffers_free(void)
{
	return rte_mempool_avail_count(pool);
}

/* Goal: what the device does not take waits, in order. Method: it takes 10, then 50, then all. */
static void test_port_unsent_frames_wait_in_order(void)
{
	struct ush_packet packets[USH_LOOP_SEND_MAX];
	uint32_t before = buffers_free(), i;

	start();
	make(packets, 0, 100);
	takes = 10;
	ush_port_send(&queue, packets, 100, 1 * MS);
	CHECK_EQ(queue.waiting, 90);
	CHECK(!ush_port_flush(&queue, 2 * MS));
	takes = 50;
	CHECK(ush_port_flush(&queue, 3 * MS));
	CHECK_EQ(queue.waiting, 40);
	make(packets, 100, 20);
	takes = 45;
	ush_port_send(&queue, packets, 20, 4 * MS);
	CHECK_EQ(queue.waiting, 15);
	takes = 1000;
	CHECK(ush_port_flush(&queue, 5 * MS));
	CHECK_EQ(queue.waiting, 0);
	CHECK_EQ(took_count, 120);
	for (i = 0; i < took_count; i++)
		CHECK_EQ(took[i], i);
	CHECK_EQ(buffers_free(), before);
}

/* Goal: a device without a reader costs 10 ms once, then nothing; drops are counted and replies are
 * no longer counted as given. Method: it takes nothing, then again everything. */
static void test_port_stuck_device_drops(void)
{
	struct ush_packet packets[USH_LOOP_SEND_MAX];
	uint64_t drops = counted_drops();
	uint32_t before = buffers_free();

	start();
	make(packets, 0, 100);
	ush_port_send(&queue, packets, 100, 1 * MS);
	CHECK(!ush_port_flush(&queue, 10 * MS));
	CHECK_EQ(queue.waiting, 100);
	CHECK(ush_port_flush(&queue, 11 * MS));
	CHECK_EQ(queue.waiting, 0);
	CHECK_EQ(counted_drops() - drops, 100);
	make(packets, 100, 30);
	ush_port_send(&queue, packets, 30, 12 * MS);
	CHECK_EQ(queue.waiting, 0);
	CHECK_EQ(counted_drops() - drops, 130);
	CHECK_EQ(atomic_load(&queue.tx_dropped), 130);
	takes = 5;
	make(packets, 200, 30);
	ush_port_send(&queue, packets, 30, 13 * MS);
	CHECK_EQ(took_count, 5);
	CHECK_EQ(queue.waiting, 25);
	takes = 100;
	CHECK(ush_port_flush(&queue, 14 * MS));
	CHECK_EQ(took_count, 30);
	CHECK_EQ(counted_drops() - drops, 130);
	CHECK_EQ(buffers_free(), before);
}

/* Goal: a full backlog gives up its oldest. Method: three turns' worth for another port's queue. */
static void test_port_full_backlog_drops_the_oldest(void)
{
	struct ush_packet packets[USH_LOOP_SEND_MAX];
	uint64_t drops = counted_drops();
	uint32_t before = buffers_free(), i;

	start();
	for (i = 0; i < 3; i++) {
		make(packets, i * USH_LOOP_SEND_MAX, USH_LOOP_SEND_MAX);
		ush_port_send(&queue, packets, USH_LOOP_SEND_MAX, 1 * MS);
	}
	CHECK_EQ(queue.waiting, USH_PORT_BACKLOG);
	CHECK_EQ(counted_drops() - drops, 3 * USH_LOOP_SEND_MAX - USH_PORT_BACKLOG);
	takes = 10000;
	CHECK(ush_port_flush(&queue, 2 * MS));
	CHECK_EQ(took_count, USH_PORT_BACKLOG);
	for (i = 0; i < took_count; i++)
		CHECK_EQ(took[i], i + 3 * USH_LOOP_SEND_MAX - USH_PORT_BACKLOG);
	CHECK_EQ(buffers_free(), before);
}

/* Goal: frames become packets; a frame in two buffers is counted and freed. Method: one of each
 * kind of checksum verdict. */
static void test_port_receive_makes_packets(void)
{
	static const uint64_t said[] = {0,
		RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_BAD,
		RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_IP_CKSUM_NONE};
	static const uint32_t meant[] = {0,
		USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD,
		USH_PACKET_IP_CHECKSUM_BAD, USH_PACKET_L4_CHECKSUM_BAD,
		USH_PACKET_IP_CHECKSUM_GOOD | USH_PACKET_L4_CHECKSUM_GOOD};
	struct ush_packet packets[USH_LOOP_BURST];
	struct ush_loop_counters before, after;
	uint32_t free_before = buffers_free(), i;

	start();
	ush_loop_counters_read(queue.loop, &before);
	for (i = 0; i < 6; i++) {
		struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

		rte_pktmbuf_append(mbuf, 60);
		if (i < 5)
			mbuf->ol_flags = said[i];
		else
			rte_pktmbuf_chain(mbuf, rte_pktmbuf_alloc(pool));
		gives[5 - i] = mbuf;
	}
	gives_count = 6;
	CHECK_EQ(ush_port_receive(&queue, packets, USH_LOOP_BURST), 5);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(packets[i].flags, meant[i]);
		CHECK_EQ(packets[i].size, 60);
		CHECK_EQ(packets[i].capacity, RTE_MBUF_DEFAULT_DATAROOM);
		CHECK_EQ(packets[i].family, 0);
	}
	ush_loop_counters_read(queue.loop, &after);
	CHECK_EQ(after.drop[USH_DROP_PAYLOAD_LONG] - before.drop[USH_DROP_PAYLOAD_LONG], 1);
	CHECK_EQ(after.rx_packets - before.rx_packets, 1);
	ush_port_free(packets, 5);
	CHECK_EQ(buffers_free(), free_before);
}

/* Goal: the device is asked for checksums only where it offered them, and only for UDP. */
static void test_port_offload_flags(void)
{
	struct ush_packet packets[3];
	struct rte_mbuf *mbufs[3];
	uint32_t i;

	start();
	port.net.checksum_tx_offload = true;
	make(packets, 0, 3);
	packets[1].family = 6;
	packets[1].payload_at = 62;
	/* An answer to ARP. */
	packets[2].payload_at = 0;
	for (i = 0; i < 3; i++)
		mbufs[i] = packets[i].handle;
	ush_port_send(&queue, packets, 3, 1 * MS);
	CHECK_EQ(mbufs[0]->ol_flags,
		RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM);
	CHECK_EQ(mbufs[0]->l2_len, 14);
	CHECK_EQ(mbufs[0]->l3_len, 20);
	CHECK_EQ(mbufs[1]->ol_flags, RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV6);
	CHECK_EQ(mbufs[1]->l3_len, 40);
	CHECK_EQ(mbufs[2]->ol_flags, 0);
	CHECK_EQ(mbufs[2]->pkt_len, 106);
	takes = 3;
	CHECK(ush_port_flush(&queue, 2 * MS));
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Goal: a counter rate that is 5 % off is mended, and time never goes back meanwhile. Method: start
 * with wrong rates, correct each 20 ms, read all the time. */
static void test_clock_corrects_and_never_goes_back(void)
{
	int way;

	for (way = -1; way <= 1; way += 2) {
		uint64_t hz = rte_get_tsc_hz(), last = 0, begun = clock_ns(CLOCK_MONOTONIC), apart;
		struct ush_clock_view view = {.version = 0};
		struct ush_clock clock;
		int corrections = 0;

		memset(&clock, 0, sizeof(clock));
		hz = way < 0 ? hz - hz / 20 : hz + hz / 20;
		CHECK_EQ(ush_clock_init(&clock, hz, 0), 0);
		while (corrections < 20) {
			uint64_t now = ush_clock_now(&clock, &view, rte_rdtsc());

			CHECK(now >= last);
			last = now;
			if (clock_ns(CLOCK_MONOTONIC) - begun >= 20 * MS) {
				ush_clock_correct(&clock);
				begun = clock_ns(CLOCK_MONOTONIC);
				corrections++;
			}
		}
		apart = clock_ns(CLOCK_REALTIME);
		last = ush_clock_now(&clock, &view, rte_rdtsc());
		apart = apart > last ? apart - last : last - apart;
		if (apart >= MS)
			printf("# apart by %" PRIu64 " ns\n", apart);
		CHECK(apart < MS);
	}
}

/* Goal: time goes on from the journal's newest when the wall clock was set back. */
static void test_clock_starts_at_the_floor(void)
{
	uint64_t floor_ns = clock_ns(CLOCK_REALTIME) + 3600 * 1000 * MS, behind;
	struct ush_clock_view view = {.version = 0};
	struct ush_clock clock;

	memset(&clock, 0, sizeof(clock));
	behind = ush_clock_init(&clock, rte_get_tsc_hz(), floor_ns);
	CHECK(behind > 3599 * 1000 * MS && behind <= 3600 * 1000 * MS);
	CHECK(ush_clock_now(&clock, &view, rte_rdtsc()) >= floor_ns);
}

/* Goal: the pool has the buffers asked for. What follows uses it, and the engine made here. */
static void test_port_pool_is_made(void)
{
	const struct ush_key key = {1, 2};
	struct ush_engine_limits limits;
	struct ush_message message;
	size_t bytes;
	void *memory;

	ush_engine_limits_default(&limits);
	limits.hold_count = limits.user_count = limits.answer_count = limits.row_count = 1024;
	limits.ack_count = 256;
	bytes = ush_engine_bytes(&limits, &message);
	memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
	if (memory == NULL)
		abort();
	memset(memory, 0, bytes);
	engine = ush_engine_init(memory, &limits, &key);
	pool = ush_port_pool_make(2047, true, &message);
	CHECK(pool != NULL);
	CHECK_EQ(buffers_free(), 2047);
}

int main(void)
{
	static const char *const words[] = {"test_port", "--no-huge", "-m", "64", "--no-pci",
		"--no-shconf", "--no-telemetry", "--log-level=error", "--lcores=0@0"};
	char *arguments[sizeof(words) / sizeof(words[0]) + 1] = {NULL};
	int count;

	for (count = 0; count < (int)(sizeof(words) / sizeof(words[0])); count++)
		arguments[count] = strdup(words[count]);
	if (rte_eal_init(count, arguments) < 0) {
		printf("1..0 # SKIP EAL does not start here\n");
		return 0;
	}
	TAP_RUN(test_port_pool_is_made);
	TAP_RUN(test_port_unsent_frames_wait_in_order);
	TAP_RUN(test_port_stuck_device_drops);
	TAP_RUN(test_port_full_backlog_drops_the_oldest);
	TAP_RUN(test_port_receive_makes_packets);
	TAP_RUN(test_port_offload_flags);
	TAP_RUN(test_clock_corrects_and_never_goes_back);
	TAP_RUN(test_clock_starts_at_the_floor);
	return tap_end();
}
