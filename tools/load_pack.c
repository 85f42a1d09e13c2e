/* SPDX-License-Identifier: Apache-2.0 */
#include "load_pack.h"

#include <stdlib.h>
#include <string.h>

int load_pack_init(
	struct load_pack *pack, struct load_batch *batch, uint32_t most, uint64_t wait_ns)
{
	*pack = (struct load_pack){.most = most, .wait_ns = wait_ns};
	pack->memory = aligned_alloc(64, (LOAD_BURST + 1) * sizeof(pack->memory[0]));
	if (pack->memory == NULL)
		return -USH_ENOMEM;
	for (uint32_t i = 0; i < LOAD_BURST; i++)
		batch->buffer[i] = pack->memory[i];
	pack->data = pack->memory[LOAD_BURST];
	return 0;
}

void load_pack_free(struct load_pack *pack)
{
	free(pack->memory);
}

void load_pack_end(struct load_pack *pack, struct load_batch *batch, uint64_t now_ns)
{
	uint8_t *spare;

	if (pack->count == 0)
		return;
	USH_ASSERT(batch->count < LOAD_BURST);
	/* The payload changes hands; the next one is filled where a sent one was. */
	spare = batch->buffer[batch->count];
	batch->buffer[batch->count] = pack->data;
	batch->packet[batch->count++] = (struct load_packet){
		.head = pack->data,
		.head_bytes = (uint16_t)pack->bytes,
		.flow = batch->flow++,
		.time_ns = now_ns,
	};
	pack->data = spare;
	pack->count = pack->bytes = 0;
}

void load_pack_add(struct load_pack *pack, struct load_batch *batch,
	const struct load_packet *message, uint64_t now_ns)
{
	uint32_t bytes = (uint32_t)message->head_bytes + message->tail_bytes;

	if (pack->most == 1) {
		USH_ASSERT(batch->count < LOAD_BURST);
		batch->packet[batch->count] = *message;
		batch->packet[batch->count++].flow = batch->flow++;
		return;
	}
	USH_ASSERT(bytes <= USH_PAYLOAD_BYTES_MAX);
	if (bytes > USH_PAYLOAD_BYTES_MAX - pack->bytes)
		load_pack_end(pack, batch, now_ns);
	if (pack->count == 0)
		pack->since_ns = now_ns;
	memcpy(pack->data + pack->bytes, message->head, message->head_bytes);
	if (message->tail_bytes != 0)
		memcpy(pack->data + pack->bytes + message->head_bytes, message->tail,
			message->tail_bytes);
	pack->bytes += bytes;
	if (++pack->count == pack->most)
		load_pack_end(pack, batch, now_ns);
}

uint32_t load_pack_cut(const struct load_received *datagram, struct load_received *messages)
{
	const uint8_t *payload = datagram->payload;
	uint16_t first, magic, size;
	uint32_t count = 0;

	messages[0] = *datagram;
	if (datagram->bytes < 2 * USH_REPLY_BYTES || datagram->bytes > USH_PAYLOAD_BYTES_MAX)
		return 1;
	memcpy(&first, payload, sizeof(first));
	if (first != USH_REPLY_MAGIC && first != USH_REQUEST_MAGIC)
		return 1;
	for (uint32_t at = 0; at < datagram->bytes; at += size) {
		uint32_t left = datagram->bytes - at;

		if (left < USH_REPLY_BYTES)
			break;
		memcpy(&magic, payload + at + offsetof(struct ush_reply, magic), sizeof(magic));
		memcpy(&size, payload + at + offsetof(struct ush_reply, size), sizeof(size));
		/* A message ends where the next may lie: extensions have multiples of 8 bytes. */
		if (magic != first || size < USH_REPLY_BYTES || size > left || size % 8 != 0)
			break;
		messages[count++] = (struct load_received){.payload = payload + at, .bytes = size};
		if (size == left)
			return count;
	}
	messages[0] = *datagram;
	return 1;
}
