/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns on a public port: whole Ethernet frames in, whole frames out, and what a public port
 * refuses.
 *
 * Owns:  one engine, the addresses of its port.
 * Reads: nothing.
 * Never: DPDK.
 */
#include "../ask.h"

#define ETHER 14u
#define IP4 20u
#define IP6 40u
#define UDP 8u
#define FRAME_MAX 2048u

static const uint8_t our_mac[6] = {0x02, 0, 0, 0, 0, 1}, peer_mac[6] = {0x02, 0, 0, 0, 0, 9};
static const uint8_t our_ip4[4] = {10, 7, 0, 1}, peer_ip4[4] = {10, 7, 0, 2};
static const uint8_t our_ip6[16] = {0xfd, [15] = 1}, peer_ip6[16] = {0xfd, [15] = 2};
static uint8_t frames[USH_LOOP_BURST][FRAME_MAX];

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* RFC 1071, byte by byte. */
static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		sum += (i & 1) != 0 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t payload_at(bool six)
{
	return ETHER + (six ? IP6 : IP4) + UDP;
}

/* Sum of a UDP datagram with its pseudo header; 0xffff when its checksum is right. */
static uint32_t udp_sum(const uint8_t *frame, bool six, uint32_t udp_bytes)
{
	const uint8_t *ip = frame + ETHER;
	uint32_t sum = 17 + udp_bytes;

	sum = six ? sum16(sum, ip + 8, 32) : sum16(sum, ip + 12, 8);
	return sum16(sum, ip + (six ? IP6 : IP4), udp_bytes);
}

/* Adds a frame with that payload from the peer's port 12345 to ours. */
static void add_frame(bool six, const void *payload, uint32_t bytes)
{
	uint8_t *f = frames[burst_count], *ip = f + ETHER;
	uint8_t *udp = ip + (six ? IP6 : IP4);
	uint32_t udp_bytes = bytes + UDP;

	memset(f, 0, FRAME_MAX);
	memcpy(f, our_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, six ? 0x86dd : 0x0800);
	if (six) {
		ip[0] = 0x60;
		put16(ip + 4, udp_bytes);
		ip[6] = 17;
		ip[7] = 64;
		memcpy(ip + 8, peer_ip6, 16);
		memcpy(ip + 24, our_ip6, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, IP4 + udp_bytes);
		ip[8] = 64;
		ip[9] = 17;
		memcpy(ip + 12, peer_ip4, 4);
		memcpy(ip + 16, our_ip4, 4);
		put16(ip + 10, ~sum16(0, ip, IP4));
	}
	put16(udp, 12345);
	put16(udp + 2, USH_UDP_PORT);
	put16(udp + 4, udp_bytes);
	memcpy(udp + UDP, payload, bytes);
	put16(udp + 6, ~udp_sum(f, six, udp_bytes));
	burst[burst_count++] = (struct ush_packet){
		.data = f, .size = payload_at(six) + bytes, .capacity = FRAME_MAX, .handle = f};
}

static void add_request(bool six, struct ush_request request)
{
	request.magic = USH_REQUEST_MAGIC;
	request.version = USH_VERSION;
	request.size = sizeof(request);
	request.cookie = burst_count;
	add_frame(six, &request, sizeof(request));
}

/* A request padded to `bytes`. */
static void add_padded(bool six, struct ush_request request, uint32_t bytes)
{
	static uint8_t payload[USH_PAYLOAD_BYTES_MAX];
	struct ush_extension_header pad = {
		.type = USH_EXTENSION_PAD, .size = (uint16_t)(bytes - sizeof(request))};

	memset(payload, 0, sizeof(payload));
	request.magic = USH_REQUEST_MAGIC;
	request.version = USH_VERSION;
	request.size = (uint16_t)bytes;
	request.extension_count = 1;
	memcpy(payload, &request, sizeof(request));
	memcpy(payload + sizeof(request), &pad, sizeof(pad));
	add_frame(six, payload, bytes);
}

/* ret: true if what was sent is a whole frame back to the peer with a good reply of that size. */
static bool is_good_frame(const struct ush_packet *packet, bool six, uint32_t bytes)
{
	const uint8_t *f = packet->data, *ip = f + ETHER, *udp = ip + (six ? IP6 : IP4);
	uint32_t udp_bytes = bytes + UDP;
	bool good = packet->size == payload_at(six) + bytes;

	good &= memcmp(f, peer_mac, 6) == 0 && memcmp(f + 6, our_mac, 6) == 0;
	if (six)
		good &= memcmp(ip + 8, our_ip6, 16) == 0 && memcmp(ip + 24, peer_ip6, 16) == 0 &&
			get16(ip + 4) == udp_bytes;
	else
		good &= memcmp(ip + 12, our_ip4, 4) == 0 && memcmp(ip + 16, peer_ip4, 4) == 0 &&
			get16(ip + 2) == IP4 + udp_bytes && sum16(0, ip, IP4) == 0xffff;
	good &= get16(udp) == USH_UDP_PORT && get16(udp + 2) == 12345;
	good &= get16(udp + 4) == udp_bytes && udp_sum(f, six, udp_bytes) == 0xffff;
	return good;
}

static void name_port(void)
{
	memcpy(h.net.mac, our_mac, 6);
	memcpy(&h.net.ipv4_be, our_ip4, 4);
	memcpy(h.net.ipv6, our_ip6, 16);
	h.net.has_ipv4 = h.net.has_ipv6 = true;
	h.net.udp_port_be = __builtin_bswap16(USH_UDP_PORT);
	ush_net_link_address(&h.net);
}

static void start_port(void)
{
	start();
	name_port();
}

/* Goal: a hold over the wire: the reply waits, then goes back where it came from, checksums right;
 * its packet is free at once. Method: IPv4 and IPv6 in one burst. */
static void test_turn_frames_reserve_waits_without_its_packet(void)
{
	start_port();
	add_request(false, harness_reserve(EVENT, 1, 1, 0, 1));
	add_request(true, harness_reserve(EVENT, 2, 1, 0, 2));
	add_request(true, harness_reserve(EVENT, 3, 1, 0, 2));
	turn(0);
	CHECK_EQ(h.reply_count, 1);
	CHECK_EQ(h.replies[0].status, USH_STATUS_TAKEN_NOW);
	CHECK(is_good_frame(&h.out.send[0], true, 64));
	CHECK(h.out.send[0].data == frames[2]);
	CHECK_EQ(h.out.free_count, 2);
	CHECK(h.out.free[0].data == frames[0] && h.out.free[1].data == frames[1]);
	memset(frames[0], 0xee, sizeof(frames[0]));
	memset(frames[1], 0xee, sizeof(frames[1]));
	flush(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(h.out.free_count, 0);
	for (uint32_t i = 0; i < 2; i++) {
		CHECK_EQ(h.replies[i].status, USH_STATUS_OK);
		CHECK_EQ(h.replies[i].cookie, i);
		CHECK(is_good_frame(&h.out.send[i], i == 1, 64));
		CHECK(h.out.send[i].handle == NULL);
	}
	CHECK_EQ(counters(0).rx_packets, 3);
	CHECK_EQ(counters(0).rx_bytes, 106 + 126 + 126);
	CHECK(counters_add_up());
}

/* Goal: privileged operations are refused there, and nothing is done. */
static void test_turn_frames_privileged_is_not_permitted(void)
{
	static const uint8_t ops[] = {USH_OP_EVENT_LOAD, USH_OP_EVENT_STATUS, USH_OP_CONFIRM,
		USH_OP_BLOCK, USH_OP_UNBLOCK, USH_OP_STATS};
	struct ush_reply held;

	start_port();
	held = reserve(1, 1, 0, 1);
	for (uint32_t i = 0; i < sizeof(ops); i++) {
		struct ush_request r = {.op = ops[i], .event = EVENT};

		if (ops[i] == USH_OP_EVENT_STATUS)
			r.arg = USH_EVENT_STATUS_COMPLETED;
		if (ops[i] == USH_OP_CONFIRM) {
			r.user = 1;
			r.hold = held.hold;
		}
		if (ops[i] == USH_OP_BLOCK || ops[i] == USH_OP_UNBLOCK)
			r.mask = 2;
		if (ops[i] == USH_OP_STATS)
			r.event = 0;
		add_request(i % 2 != 0, r);
		turn(0);
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].status, USH_STATUS_NOT_PERMITTED);
		CHECK(is_good_frame(&h.out.send[0], i % 2 != 0, 64));
	}
	CHECK_EQ(view().house_count, 0);
	CHECK_EQ(view().status, USH_EVENT_STATUS_ON_SALE);
	CHECK_EQ(query(1, held.hold).state, USH_HOLD_STATE_HELD);
}

/* Goal: a reply is never longer than its request. Method: QUERY_SECTION in every padding. */
static void test_turn_frames_section_fits_its_request(void)
{
	struct ush_request r = {.op = USH_OP_QUERY_SECTION, .event = EVENT};

	start_port();
	CHECK_EQ(reserve(1, 1, 1, 0x3).status, USH_STATUS_OK);
	flush(0);
	harness_make_durable(&h);
	for (uint32_t bytes = 64; bytes <= 160; bytes += 8) {
		uint32_t fit = bytes < 72 ? 0 : (bytes - 72) / 8;
		uint32_t rows = fit < ROWS ? fit : ROWS;
		uint32_t size = rows == 0 ? 64 : 72 + rows * 8;
		struct ush_extension_header header;

		if (bytes == 64)
			add_request(false, r);
		else
			add_padded(false, r, bytes);
		turn(0);
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].status, USH_STATUS_OK);
		CHECK_EQ(h.replies[0].amount, ROWS);
		CHECK_EQ(h.replies[0].size, size);
		CHECK(size <= bytes);
		CHECK(is_good_frame(&h.out.send[0], false, size));
		CHECK_EQ(h.replies[0].extension_count, rows != 0);
		CHECK_EQ(h.replies[0].detail, rows < ROWS ? rows : 0);
		memcpy(&header, h.out.send[0].data + payload_at(false) + 64, sizeof(header));
		if (rows == 0)
			continue;
		CHECK_EQ(header.type, USH_EXTENSION_ROWS);
		CHECK_EQ(header.size, 8 + rows * 8);
		CHECK_EQ(header.value, 0);
		for (uint32_t i = 0; i < rows; i++) {
			uint64_t mask;
			memcpy(&mask, h.out.send[0].data + payload_at(false) + 72 + (size_t)i * 8,
				8);
			CHECK_EQ(mask, i == 1 ? 0x3fc : 0x3ff);
		}
	}
}

/* Goal: a section is read page by page; a page without room for a row names its own row. */
static void test_turn_frames_section_is_read_in_pages(void)
{
	struct ush_request r = {.op = USH_OP_QUERY_SECTION, .event = EVENT};
	uint32_t pages = 0;

	start_port();
	do {
		add_padded(true, r, 72 + 2 * 8);
		turn(0);
		CHECK_EQ(h.reply_count, 1);
		CHECK_EQ(h.replies[0].status, USH_STATUS_OK);
		pages++;
		r.row = (uint16_t)h.replies[0].detail;
		CHECK(r.row == 0 || r.row == pages * 2);
	} while (r.row != 0 && pages < 10);
	CHECK_EQ(pages, 3);
	r.row = 4;
	add_request(true, r);
	turn(0);
	CHECK_EQ(h.replies[0].detail, 4);
	CHECK_EQ(h.replies[0].extension_count, 0);
	r.row = ROWS;
	add_request(true, r);
	turn(0);
	CHECK_EQ(h.replies[0].status, USH_STATUS_BAD_REQUEST);
	CHECK_EQ(h.replies[0].detail, USH_FAULT_SECTION);
	r.row = 0;
	r.section = 1;
	add_request(true, r);
	turn(0);
	CHECK_EQ(h.replies[0].detail, USH_FAULT_SECTION);
}

/* Goal: one reply has at most the rows that fit the largest payload, on the control port too. */
static void test_turn_frames_section_of_many_rows_fits_payload(void)
{
	struct ush_request r = {.op = USH_OP_QUERY_SECTION, .event = 5};
	const uint32_t most = (USH_PAYLOAD_BYTES_MAX - 72) / 8;

	start_port();
	harness_event(&h, 5, 500, 64, 8);
	add_padded(false, r, USH_PAYLOAD_BYTES_MAX);
	turn(0);
	CHECK_EQ(h.replies[0].size, 72 + most * 8);
	CHECK_EQ(h.replies[0].detail, most);
	CHECK(is_good_frame(&h.out.send[0], false, 72 + most * 8));
	add(r);
	turn(0);
	CHECK_EQ(h.replies[0].size, 72 + most * 8);
	CHECK_EQ(h.replies[0].detail, most);
}

/* Goal: what is no request is dropped under its reason; what is ARP or echo is answered; all
 * counted. Method: a burst of good and bad frames. */
static void test_turn_frames_bad_ones_are_counted(void)
{
	struct ush_request r = {.op = USH_OP_STATUS};
	struct ush_loop_counters c;
	uint8_t *arp, rest[100] = {0};

	start_port();
	add_request(false, r);
	burst[0].size = 40;
	add_request(false, r);
	put16(frames[1] + 12, 0x1234);
	add_request(false, r);
	frames[2][0] ^= 4;
	add_request(false, r);
	frames[3][ETHER + 10] ^= 1;
	add_request(true, r);
	frames[4][payload_at(true) + 60] ^= 1;
	add_frame(false, rest, 63);
	add_frame(false, rest, 64);
	add_frame(true, rest, 100);
	r.magic = USH_REQUEST_MAGIC;
	r.version = USH_VERSION;
	r.size = 65;
	add_frame(false, &r, sizeof(r));
	/* Who has our address? */
	arp = frames[burst_count];
	memset(arp, 0, 64);
	memset(arp, 0xff, 6);
	memcpy(arp + 6, peer_mac, 6);
	memcpy(arp + 12, (uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
	memcpy(arp + 22, peer_mac, 6);
	memcpy(arp + 28, peer_ip4, 4);
	memcpy(arp + 38, our_ip4, 4);
	burst[burst_count++] = (struct ush_packet){.data = arp, .size = 60, .capacity = FRAME_MAX};
	turn(0);
	CHECK_EQ(h.drop_count, 9);
	CHECK_EQ(h.reply_count, 1);
	c = counters(0);
	CHECK_EQ(c.drop[USH_DROP_FRAME_SHORT] + c.drop[USH_DROP_IP_HEADER], 1);
	CHECK_EQ(c.drop[USH_DROP_ETHER_TYPE], 1);
	CHECK_EQ(c.drop[USH_DROP_NOT_OURS], 1);
	CHECK_EQ(c.drop[USH_DROP_IP_CHECKSUM], 1);
	CHECK_EQ(c.drop[USH_DROP_UDP_CHECKSUM], 1);
	CHECK_EQ(c.drop[USH_DROP_PAYLOAD_SHORT], 1);
	CHECK_EQ(c.drop[USH_DROP_MAGIC], 2);
	CHECK_EQ(c.drop[USH_DROP_SIZE], 1);
	CHECK_EQ(c.answer[USH_ANSWER_ARP], 1);
	CHECK(counters_add_up());
	/* An answer that could not be sent is taken back, too. */
	ush_loop_count_drop(ush_engine_loop(h.engine, 0), USH_DROP_TX_FULL, &h.out.send[0]);
	CHECK_EQ(counters(0).answer[USH_ANSWER_ARP], 0);
	CHECK(counters_add_up());
}

/* Goal: another version or operation is refused by name over the wire. */
static void test_turn_frames_other_version_is_told_ours(void)
{
	struct ush_request r = harness_reserve(EVENT, 1, 9, 0, 1);

	start_port();
	r.magic = USH_REQUEST_MAGIC;
	r.version = 9;
	r.size = 1;
	add_frame(false, &r, sizeof(r));
	r.version = USH_VERSION;
	r.size = 64;
	r.op = 200;
	add_frame(false, &r, sizeof(r));
	turn(0);
	CHECK_EQ(h.reply_count, 2);
	CHECK_EQ(h.replies[0].status, USH_STATUS_BAD_VERSION);
	CHECK_EQ(h.replies[0].version, USH_VERSION);
	CHECK_EQ(h.replies[0].detail, USH_VERSION);
	CHECK_EQ(h.replies[0].request_id, 9);
	CHECK_EQ(h.replies[1].status, USH_STATUS_BAD_OP);
	CHECK(is_good_frame(&h.out.send[0], false, 64));
}

/* ret: verdicts in all. */
static uint64_t verdicts(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < USH_VERDICT_COUNT; i++)
		sum += counters(0).verdict[i];
	return sum;
}

static void start_admission(uint32_t checks, struct ush_admit_limit refusal)
{
	static struct ush_admit_config config;
	struct ush_engine_limits limits;

	harness_limits_small(&limits);
	limits.admit_source_count = limits.admit_user_count = 64;
	start_with(&limits);
	name_port();
	memset(&config, 0, sizeof(config));
	config.checks = checks;
	config.refusal = refusal;
	config.policy[0].user = (struct ush_admit_limit){HARNESS_SECOND, 0};
	ush_engine_admission(h.engine, &config);
}

/* Goal: refusals are answered in the same turn, over their rate dropped; verdicts add up to packets
 * received. */
static void test_turn_frames_admission_counts_each_packet(void)
{
	uint8_t noise[70] = {1};

	start_admission(USH_ADMISSION_CHECK_EVENT | USH_ADMISSION_CHECK_USER,
		(struct ush_admit_limit){HARNESS_SECOND, 2 * HARNESS_SECOND});
	add_request(false, harness_reserve(EVENT, 1, 1, 0, 1));
	add_request(true, harness_reserve(EVENT, 1, 2, 0, 2));
	add_request(true, harness_reserve(60000, 1, 1, 0, 2));
	add_request(false, (struct ush_request){.op = 99});
	add_request(false, harness_reserve(60000, 1, 1, 0, 2));
	add_frame(false, noise, sizeof(noise));
	burst[burst_count - 1].size = 10;
	add_frame(false, noise, sizeof(noise));
	add_request(false, (struct ush_request){.op = USH_OP_RESERVE, .event = EVENT, .user = 2});
	turn(0);
	CHECK_EQ(h.reply_count, 4);
	CHECK_EQ(h.replies[0].status, USH_STATUS_RATE);
	CHECK_EQ(h.replies[0].detail, USH_VERDICT_USER_RATE);
	CHECK_EQ(h.replies[0].deadline_ns, h.now_ns + HARNESS_SECOND);
	CHECK(is_good_frame(&h.out.send[0], true, 64));
	CHECK_EQ(h.replies[1].status, USH_STATUS_UNKNOWN_EVENT);
	CHECK_EQ(h.replies[2].status, USH_STATUS_NOT_PERMITTED);
	/* What passes is checked as ever. */
	CHECK_EQ(h.replies[3].status, USH_STATUS_BAD_REQUEST);
	CHECK_EQ(counters(0).drop[USH_DROP_REFUSE_RATE], 1);
	CHECK_EQ(counters(0).verdict[USH_VERDICT_PASS], 2);
	CHECK_EQ(counters(0).verdict[USH_VERDICT_HEADER], 1);
	CHECK_EQ(counters(0).verdict[USH_VERDICT_MAGIC], 1);
	CHECK_EQ(verdicts(), counters(0).rx_packets);
	flush(0);
	CHECK_EQ(h.replies[0].status, USH_STATUS_OK);
	CHECK(counters_add_up());
}

/* Goal: in a turn with much to do whoever has a hold is served before those who want one. */
static void test_turn_frames_admission_serves_holds_first(void)
{
	struct ush_request look = {.op = USH_OP_QUERY_HOLD, .event = EVENT, .user = 7, .hold = 5};

	start_admission(0, (struct ush_admit_limit){0, 0});
	for (uint32_t i = 0; i < 40; i++)
		add_request(false, harness_reserve(EVENT, 100 + i, 1, 99, 1));
	add_request(true, look);
	turn(0);
	CHECK_EQ(h.reply_count, 41);
	CHECK_EQ(h.replies[0].op, USH_OP_QUERY_HOLD);
	CHECK_EQ(h.replies[0].cookie, 40);
	CHECK_EQ(h.replies[1].cookie, 0);
	CHECK_EQ(h.replies[40].cookie, 39);
	CHECK(counters_add_up());
}

int main(void)
{
	TAP_RUN(test_turn_frames_admission_counts_each_packet);
	TAP_RUN(test_turn_frames_admission_serves_holds_first);
	TAP_RUN(test_turn_frames_reserve_waits_without_its_packet);
	TAP_RUN(test_turn_frames_privileged_is_not_permitted);
	TAP_RUN(test_turn_frames_section_fits_its_request);
	TAP_RUN(test_turn_frames_section_is_read_in_pages);
	TAP_RUN(test_turn_frames_section_of_many_rows_fits_payload);
	TAP_RUN(test_turn_frames_bad_ones_are_counted);
	TAP_RUN(test_turn_frames_other_version_is_told_ours);
	harness_close(&h);
	return tap_end();
}
