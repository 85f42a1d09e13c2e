/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block is good if and only if its magic, box and epoch are the segment's, its sequence is its
 * place, and its checksum is right. Everything else is one of the kinds below, and what recovery
 * makes of each kind is one table.
 */
#include <string.h>

#include "journal/internal.h"

static bool is_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t any = 0;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word;
		memcpy(&word, bytes + i, 8);
		any |= word;
	}
	return any == 0;
}

static uint32_t block_crc(const void *data)
{
	struct ush_block_header header;
	uint32_t crc;

	memcpy(&header, data, sizeof(header));
	header.crc = 0;
	crc = ush_crc32c(0, &header, sizeof(header));
	return ush_crc32c(
		crc, (const uint8_t *)data + sizeof(header), USH_BLOCK_BYTES - sizeof(header));
}

enum block_kind block_classify(const void *data, uint32_t box, uint32_t epoch, uint64_t block)
{
	struct ush_block_header header;

	memcpy(&header, data, sizeof(header));
	if (is_zero(&header, sizeof(header)))
		return BLOCK_ZERO;
	if (header.magic != USH_BLOCK_MAGIC) {
		/* 'USJ' and another digit: a format this box does not know. */
		bool other = (header.magic & 0xffffffu) == (USH_BLOCK_MAGIC & 0xffffffu) &&
			     header.magic >> 24 >= '0' && header.magic >> 24 <= '9';
		return other ? BLOCK_VERSION : BLOCK_TORN;
	}
	if (block_crc(data) != header.crc)
		return BLOCK_TORN;
	if (header.box != box)
		return BLOCK_FOREIGN;
	if (header.epoch > epoch)
		return BLOCK_FUTURE;
	if (header.epoch < epoch || header.sequence < block * USH_BLOCK_SLOTS)
		return BLOCK_LEFTOVER;
	return header.sequence == block * USH_BLOCK_SLOTS ? BLOCK_GOOD : BLOCK_FUTURE;
}

/*
 * kind      known durable   not known
 * GOOD      replay          replay
 * ZERO      corrupt         the end
 * LEFTOVER  corrupt         the end: the segment was recycled and this place not yet written
 * TORN      corrupt         a torn tail
 * FOREIGN   refuse          refuse: someone put another box's file here
 * FUTURE    corrupt         corrupt: neither a newer epoch nor a later place is written here
 * VERSION   refuse          refuse
 */
enum block_action block_decide(enum block_kind kind, bool known)
{
	switch (kind) {
	case BLOCK_GOOD:
		return BLOCK_ACCEPT;
	case BLOCK_ZERO:
	case BLOCK_LEFTOVER:
		return known ? BLOCK_CORRUPT : BLOCK_END;
	case BLOCK_TORN:
		return known ? BLOCK_CORRUPT : BLOCK_END_TORN;
	case BLOCK_FOREIGN:
		return BLOCK_REFUSE_FOREIGN;
	case BLOCK_FUTURE:
		return BLOCK_CORRUPT;
	case BLOCK_VERSION:
		return BLOCK_REFUSE_VERSION;
	case BLOCK_KIND_COUNT:
		break;
	}
	USH_ASSERT(kind < BLOCK_KIND_COUNT);
	return BLOCK_CORRUPT;
}

const char *block_kind_text(enum block_kind kind)
{
	switch (kind) {
	case BLOCK_ZERO:
		return "never written";
	case BLOCK_GOOD:
		return "good";
	case BLOCK_LEFTOVER:
		return "a leftover of an earlier use of the file";
	case BLOCK_TORN:
		return "torn or rotten (checksum)";
	case BLOCK_FOREIGN:
		return "written by another box";
	case BLOCK_FUTURE:
		return "of a newer epoch, or a later place, than its segment's (was a file renamed?)";
	case BLOCK_VERSION:
		return "of another format version";
	case BLOCK_KIND_COUNT:
		break;
	}
	return "unknown";
}

uint32_t block_run(const void *data, uint64_t block, uint32_t at)
{
	const struct ush_record *slots = data;
	uint32_t run = slots[at].run_count;

	if (run < 1 || run > USH_RUN_RECORDS_MAX || at + run > USH_BLOCK_SLOTS)
		return 0;
	for (uint32_t k = 0; k < run; k++) {
		if (slots[at + k].sequence != block * USH_BLOCK_SLOTS + at + k)
			return 0;
	}
	return run;
}

void block_seal(void *data, uint32_t box, uint32_t epoch, uint64_t block, uint64_t durable_block,
	uint64_t chain_block, const uint8_t *chain, uint64_t now_ns)
{
	struct ush_block_header header = {
		.magic = USH_BLOCK_MAGIC,
		.box = box,
		.epoch = epoch,
		.sequence = block * USH_BLOCK_SLOTS,
		.durable_lag = (uint32_t)(block - durable_block),
		.chain_lag = (uint32_t)(block - chain_block),
		.time_ns = now_ns,
	};

	USH_ASSERT(durable_block <= block);
	USH_ASSERT(chain_block <= block);
	memcpy(header.chain, chain, sizeof(header.chain));
	/* block_crc takes the field as zero whatever stands there. */
	memcpy(data, &header, sizeof(header));
	header.crc = block_crc(data);
	memcpy(data, &header, sizeof(header));
}
