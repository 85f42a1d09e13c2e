/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tests/tap.h"
#include "tools/load_pack.h"

static struct load_pack pack;
static struct load_batch batch;

static void begin(uint32_t most)
{
	memset(&batch, 0, sizeof(batch));
	CHECK_EQ(load_pack_init(&pack, &batch, most, 1000), 0);
}

/* Adds a request of so many bytes, in two pieces if it is longer than the base. */
static void add(uint64_t cookie, uint32_t bytes, uint64_t now_ns)
{
	static uint8_t tail[USH_PAYLOAD_BYTES_MAX];
	struct ush_request request = {
		.magic = USH_REQUEST_MAGIC, .size = (uint16_t)bytes, .cookie = cookie};
	struct load_packet message = {.head = &request,
		.tail = tail,
		.head_bytes = sizeof(request),
		.tail_bytes = (uint16_t)(bytes - sizeof(request)),
		.time_ns = cookie};

	memset(tail, (int)(cookie & 0xff), sizeof(tail));
	load_pack_add(&pack, &batch, &message, now_ns);
	/* What was added is the packer's own from here on. */
	memset(&request, 0xee, sizeof(request));
	memset(tail, 0xee, sizeof(tail));
}

/* Checks the requests of a packet, whose cookies count up from `cookie`. ret: how many. */
static uint32_t check_packet(const struct load_packet *packet, uint64_t cookie)
{
	const struct load_received datagram = {packet->head, packet->head_bytes};
	struct load_received message[LOAD_PACK_MAX];
	uint32_t count = load_pack_cut(&datagram, message);

	CHECK(packet->head_bytes <= USH_PAYLOAD_BYTES_MAX && packet->tail_bytes == 0);
	for (uint32_t i = 0; i < count; i++, cookie++) {
		const struct ush_request *request = message[i].payload;
		const uint8_t *bytes = message[i].payload;

		CHECK_EQ(request->cookie, cookie);
		CHECK_EQ(request->size, message[i].bytes);
		for (uint32_t at = sizeof(*request); at < message[i].bytes; at++)
			CHECK_EQ(bytes[at], cookie & 0xff);
	}
	return count;
}

/* Goal: one request a datagram is as ever: no copy, no wait, its own time. */
static void test_load_pack_of_one_leaves_as_it_came(void)
{
	struct ush_request request = {.cookie = 1};
	const struct load_packet message = {
		.head = &request, .head_bytes = sizeof(request), .time_ns = 77};

	begin(1);
	load_pack_add(&pack, &batch, &message, 100);
	load_pack_add(&pack, &batch, &message, 100);
	CHECK_EQ(batch.count, 2);
	CHECK(batch.packet[0].head == &request && batch.packet[1].head == &request);
	CHECK_EQ(batch.packet[0].time_ns, 77);
	CHECK_EQ(batch.packet[1].flow, batch.packet[0].flow + 1);
	CHECK_EQ(load_pack_until(&pack), UINT64_MAX);
	load_pack_free(&pack);
}

/* Goal: a datagram leaves when it has as many as wanted, with the time of the last. */
static void test_load_pack_leaves_when_full(void)
{
	begin(LOAD_PACK_MAX);
	for (uint64_t i = 0; i < 2 * LOAD_PACK_MAX + 3; i++)
		add(i, 64, 100 + i);
	CHECK_EQ(batch.count, 2);
	CHECK_EQ(batch.packet[0].head_bytes, USH_PAYLOAD_BYTES_MAX);
	CHECK_EQ(batch.packet[0].time_ns, 100 + LOAD_PACK_MAX - 1);
	CHECK_EQ(check_packet(&batch.packet[0], 0), LOAD_PACK_MAX);
	CHECK_EQ(check_packet(&batch.packet[1], LOAD_PACK_MAX), LOAD_PACK_MAX);
	CHECK_EQ(pack.count, 3);
	load_pack_free(&pack);
}

/* Goal: the oldest request decides how long the others may come; what is left leaves when told. */
static void test_load_pack_waits_from_the_oldest(void)
{
	begin(8);
	CHECK_EQ(load_pack_until(&pack), UINT64_MAX);
	add(1, 64, 500);
	add(2, 64, 900);
	CHECK_EQ(load_pack_until(&pack), 1500);
	CHECK_EQ(batch.count, 0);
	load_pack_end(&pack, &batch, 1500);
	CHECK_EQ(batch.count, 1);
	CHECK_EQ(batch.packet[0].time_ns, 1500);
	CHECK_EQ(check_packet(&batch.packet[0], 1), 2);
	load_pack_end(&pack, &batch, 1600);
	CHECK_EQ(batch.count, 1);
	load_pack_free(&pack);
}

/* Goal: never more than 1,408 bytes, nothing lost or out of order, whatever the sizes. Method:
 * random sizes and limits; batches sent at random; each packet is cut and its cookies counted. */
static void test_load_pack_of_all_sizes(void)
{
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	for (uint32_t round = 0; round < 300; round++) {
		uint32_t most = 2 + (uint32_t)ush_random_below(&random, LOAD_PACK_MAX - 1);
		uint64_t added = 0, left = 0, sum = 0, packets = 0;

		begin(most);
		for (uint32_t step = 0; step < 60; step++) {
			for (uint64_t n = ush_random_below(&random, LOAD_BURST - 1); n > 0; n--) {
				uint32_t words = (uint32_t)ush_random_below(
					&random, round % 3 == 0 ? 169 : 12);

				sum += 64 + 8 * words;
				add(added++, 64 + 8 * words, step);
			}
			if (step == 59)
				load_pack_end(&pack, &batch, step);
			for (uint32_t i = 0; i < batch.count; i++) {
				uint32_t count = check_packet(&batch.packet[i], left);

				CHECK(count <= most);
				left += count;
				sum -= batch.packet[i].head_bytes;
			}
			packets += batch.count;
			batch.count = 0;
		}
		CHECK_EQ(left, added);
		CHECK_EQ(sum, 0);
		CHECK(packets < added);
		load_pack_free(&pack);
	}
}

/* Goal: a message that just does not fit begins the next datagram; one that just fits does not. */
static void test_load_pack_at_the_limit(void)
{
	begin(LOAD_PACK_MAX);
	add(1, USH_PAYLOAD_BYTES_MAX - 64, 1);
	add(2, 64, 2);
	CHECK_EQ(batch.count, 0);
	add(3, USH_PAYLOAD_BYTES_MAX - 64, 3);
	CHECK_EQ(batch.count, 1);
	CHECK_EQ(check_packet(&batch.packet[0], 1), 2);
	add(4, 72, 4);
	CHECK_EQ(batch.count, 2);
	CHECK_EQ(check_packet(&batch.packet[1], 3), 1);
	CHECK_EQ(load_pack_until(&pack), 1004);
	load_pack_free(&pack);
}

static void put(uint8_t *at, uint16_t magic, uint32_t bytes)
{
	struct ush_reply reply = {.magic = magic, .size = (uint16_t)bytes};

	memcpy(at, &reply, sizeof(reply));
}

/* ret: messages that `bytes` bytes are cut into, in exact memory (ASan watches). */
static uint32_t cut(const uint8_t *data, uint32_t bytes)
{
	uint8_t *exact = malloc(bytes + 1);
	const struct load_received datagram = {exact, bytes};
	struct load_received message[LOAD_PACK_MAX];
	uint32_t count;

	memcpy(exact, data, bytes);
	count = load_pack_cut(&datagram, message);
	if (count == 1)
		CHECK(message[0].payload == exact && message[0].bytes == bytes);
	free(exact);
	return count;
}

/* Goal: only messages that fill the datagram are taken apart. Method: a good one, and each way not
 * to be one. */
static void test_load_pack_cut_takes_only_what_fills(void)
{
	uint8_t data[2048] = {0};

	for (uint32_t i = 0; i < 32; i++)
		put(data + 64 * i, USH_REPLY_MAGIC, 64);
	for (uint32_t i = 2; i <= LOAD_PACK_MAX; i++)
		CHECK_EQ(cut(data, 64 * i), i);
	CHECK_EQ(cut(data, 64 * (LOAD_PACK_MAX + 1)), 1);
	for (uint32_t bytes = 0; bytes <= USH_PAYLOAD_BYTES_MAX; bytes++)
		CHECK_EQ(cut(data, bytes), bytes % 64 == 0 && bytes != 0 ? bytes / 64 : 1);
	put(data + 64, USH_REPLY_MAGIC, 128);
	CHECK_EQ(cut(data, 256), 3);
	CHECK_EQ(cut(data, 192), 2);
	CHECK_EQ(cut(data, 128), 1);
	for (uint32_t size = 0; size <= UINT16_MAX; size++) {
		put(data + 64, USH_REPLY_MAGIC, size);
		CHECK_EQ(cut(data, 256), size == 64 ? 4 : size == 128 ? 3 : size == 192 ? 2 : 1);
	}
	put(data + 64, USH_REQUEST_MAGIC, 64);
	CHECK_EQ(cut(data, 256), 1);
	put(data, USH_REQUEST_MAGIC, 64);
	CHECK_EQ(cut(data, 128), 2);
	put(data, 0x1234, 64);
	put(data + 64, 0x1234, 64);
	CHECK_EQ(cut(data, 128), 1);
}

int main(void)
{
	TAP_RUN(test_load_pack_of_one_leaves_as_it_came);
	TAP_RUN(test_load_pack_leaves_when_full);
	TAP_RUN(test_load_pack_waits_from_the_oldest);
	TAP_RUN(test_load_pack_of_all_sizes);
	TAP_RUN(test_load_pack_at_the_limit);
	TAP_RUN(test_load_pack_cut_takes_only_what_fills);
	return tap_end();
}
