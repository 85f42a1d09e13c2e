/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk of the box: fake_disk, whose writes complete here, when and how the seed wants, and what
 * the disk itself confirmed, which is what replies may rest on.
 *
 * A write completes well, fails, ends short, or is a lie: the disk says it is done, and the bytes
 * went elsewhere or nowhere. A lie is remembered, and mended once the box has refused to start over
 * it, as an operator would restore the file from a copy.
 */
#include "check.h"

static struct sim_block *block_at(struct sim *sim, uint64_t block)
{
	if (block >= sim->blocks_room) {
		uint64_t room = block * 2 + 256;

		sim->blocks = realloc(sim->blocks, room * sizeof(*sim->blocks));
		USH_ASSERT(sim->blocks != NULL);
		memset(sim->blocks + sim->blocks_room, 0,
			(room - sim->blocks_room) * sizeof(*sim->blocks));
		sim->blocks_room = room;
	}
	return &sim->blocks[block];
}

/* A run of durable records: shown to the checkers, then booked. */
static void confirm_records(struct sim *sim, uint64_t block)
{
	const struct ush_record *slots = ledger_record(&sim->ledger, block * USH_BLOCK_SLOTS);

	for (uint32_t i = 1; i < USH_BLOCK_SLOTS;) {
		const struct ush_record *r = &slots[i];
		uint32_t count = r->run_count;
		const char *wrong;

		if (count == 0 || i + count > USH_BLOCK_SLOTS) {
			sim_fail(sim, "lost", "block %" PRIu64 " slot %u: a run of %u", block, i,
				count);
			return;
		}
		i += count;
		if (r->type == USH_RECORD_TYPE_PAD)
			continue;
		sim->totals->records += count;
		SIM_CHECK_ALL(sim, durable, r, count);
		if (sim->failed)
			return;
		wrong = ledger_apply(&sim->ledger, r, count);
		if (wrong != NULL)
			sim_fail(sim, "replay", "record %" PRIu64 ": %s", r->sequence, wrong);
	}
}

void sim_disk_confirm(struct sim *sim, uint64_t block, struct fake_file *file, uint64_t offset,
	const uint8_t *data)
{
	struct sim_block *known = block_at(sim, block);
	struct ush_block_header header;

	USH_ASSERT(block == sim->confirmed);
	memcpy(&header, data, sizeof(header));
	*known = (struct sim_block){.file = file,
		.offset = offset,
		.watermark = block - ush_min64(header.durable_lag, block),
		.crc = ush_crc32c(0, data + USH_RECORD_BYTES, USH_BLOCK_BYTES - USH_RECORD_BYTES)};
	sim->confirmed++;
	sim->totals->blocks++;
	ledger_keep(&sim->ledger, block, data);
	confirm_records(sim, block);
}

/* Takes what waited for the block just confirmed. */
static void confirm_early(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->early_count;) {
		struct sim_early early = sim->early[i];

		if (early.block != sim->confirmed) {
			i++;
			continue;
		}
		sim->early[i] = sim->early[--sim->early_count];
		sim_disk_confirm(sim, early.block, early.file, early.offset, early.data);
		free(early.data);
		i = 0;
	}
}

static void confirm_write(
	struct sim *sim, struct fake_file *file, uint64_t offset, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size && !sim->failed; at += USH_BLOCK_BYTES) {
		struct ush_block_header header;
		uint64_t block;

		memcpy(&header, data + at, sizeof(header));
		block = header.sequence / USH_BLOCK_SLOTS;
		if (block == sim->confirmed) {
			sim_disk_confirm(sim, block, file, offset + at, data + at);
		} else if (block < sim->confirmed) {
			sim_fail(sim, "lost", "block %" PRIu64 " was written again", block);
		} else if (sim->early_count < SIM_EARLY_MAX) {
			struct sim_early *early = &sim->early[sim->early_count++];

			*early = (struct sim_early){block, file, offset + at, malloc(4096)};
			USH_ASSERT(early->data != NULL);
			memcpy(early->data, data + at, USH_BLOCK_BYTES);
			sim->totals->writes_out_of_order++;
		}
	}
	confirm_early(sim);
}

static void drop_early(struct sim *sim)
{
	while (sim->early_count != 0)
		free(sim->early[--sim->early_count].data);
}

/* ---- a disk that lies ---- */

/* Remembers what should stand at a place, before something else comes there. */
static void remember(struct sim *sim, struct fake_file *file, uint64_t offset, uint64_t size,
	const uint8_t *right)
{
	struct sim_mend *mend = &sim->mends[sim->mend_count++];

	*mend = (struct sim_mend){file, offset, size, malloc(size), malloc(size)};
	USH_ASSERT(mend->right != NULL && mend->wrong != NULL);
	memcpy(mend->right, right, size);
}

static void spoil(struct sim *sim, uint64_t block)
{
	if (block < sim->blocks_room)
		sim->blocks[block].bad = true;
	sim->bad_block = ush_min64(sim->bad_block, block);
}

static bool is_over_confirmed(const struct sim *sim, const struct fake_file *file, uint64_t offset)
{
	for (uint64_t b = 1; b < sim->confirmed; b++) {
		if (sim->blocks[b].file == file && sim->blocks[b].offset == offset)
			return true;
	}
	return false;
}

/* One block says it is written and is not there. ret: false if it does not fit a lie. */
static bool lie(struct sim *sim, uint32_t index, bool elsewhere)
{
	struct fake_write write = *fake_disk_write_at(sim->fake, index);
	uint64_t block = ((const struct ush_block_header *)(const void *)write.copy)->sequence /
			 USH_BLOCK_SLOTS;
	uint64_t to = UINT64_MAX;
	uint8_t *data = write.copy;

	if (write.size != USH_BLOCK_BYTES || sim->mend_count + 2 > SIM_MENDS_MAX ||
		block != sim->confirmed)
		return false;
	if (elsewhere) {
		to = sim_below(sim, write.file->size / USH_BLOCK_BYTES) * USH_BLOCK_BYTES;
		if (to >= write.offset && !is_over_confirmed(sim, write.file, to))
			to = write.offset > USH_BLOCK_BYTES ? write.offset - USH_BLOCK_BYTES
							    : UINT64_MAX;
		if (to == UINT64_MAX || !is_over_confirmed(sim, write.file, to))
			return false;
		remember(sim, write.file, to, write.size, write.file->data + to);
		memcpy(sim->mends[sim->mend_count - 1].wrong, data, write.size);
		for (uint64_t b = 1; b < sim->confirmed; b++) {
			if (sim->blocks[b].file == write.file && sim->blocks[b].offset == to)
				spoil(sim, b);
		}
	}
	remember(sim, write.file, write.offset, write.size, data);
	memcpy(sim->mends[sim->mend_count - 1].wrong, write.file->data + write.offset, write.size);
	confirm_write(sim, write.file, write.offset, data, write.size);
	spoil(sim, block);
	sim_note(sim, elsewhere ? "write elsewhere" : "write nowhere", block, to);
	*(elsewhere ? &sim->totals->writes_misdirected : &sim->totals->writes_dropped) += 1;
	fake_disk_misdirect(sim->fake, index, to);
	return true;
}

void sim_disk_rot(struct sim *sim)
{
	uint64_t block = 1 + sim_below(sim, sim->confirmed - 1);
	struct sim_block *at = &sim->blocks[block];
	uint64_t bit = sim_below(sim, USH_BLOCK_BYTES * 8);
	uint8_t *data;

	/* The newest, now and then: there rot and tear look alike. */
	if (sim_below(sim, 4) == 0)
		at = &sim->blocks[block = sim->confirmed - 1];
	if (block == 0 || at->file == NULL || at->bad || sim->mend_count == SIM_MENDS_MAX)
		return;
	data = at->file->data + at->offset;
	remember(sim, at->file, at->offset, USH_BLOCK_BYTES, data);
	data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	memcpy(sim->mends[sim->mend_count - 1].wrong, data, USH_BLOCK_BYTES);
	spoil(sim, block);
	sim->totals->blocks_rotted++;
	sim_note(sim, "rot", block, bit);
}

void sim_disk_mend(struct sim *sim)
{
	while (sim->mend_count != 0) {
		struct sim_mend *mend = &sim->mends[--sim->mend_count];
		uint8_t *at = mend->file->data + mend->offset;

		/* Unless a good block has come there since. */
		if (memcmp(at, mend->wrong, mend->size) == 0)
			memcpy(at, mend->right, mend->size);
		mend->file->touched = ush_max64(mend->file->touched, mend->offset + mend->size);
		free(mend->right);
		free(mend->wrong);
	}
	for (uint64_t b = 0; b < sim->confirmed && b < sim->blocks_room; b++)
		sim->blocks[b].bad = false;
	sim->bad_block = UINT64_MAX;
}

uint64_t sim_disk_known(const struct sim *sim)
{
	uint64_t known = sim->epoch_block;

	for (uint64_t b = 1; b < sim->confirmed; b++) {
		if (!sim->blocks[b].bad)
			known = ush_max64(known, sim->blocks[b].watermark);
	}
	return known;
}

/* ---- completions ---- */

static void complete_well(struct sim *sim, uint32_t index)
{
	struct fake_write write = *fake_disk_write_at(sim->fake, index);
	uint8_t *data = malloc(write.size);

	USH_ASSERT(data != NULL);
	memcpy(data, write.copy, write.size);
	sim->totals->writes++;
	sim_note(sim, "write", write.offset / USH_BLOCK_BYTES, write.size);
	fake_disk_complete(sim->fake, index, (int64_t)write.size);
	confirm_write(sim, write.file, write.offset, data, write.size);
	free(data);
}

void sim_disk_complete(struct sim *sim)
{
	uint32_t count = fake_disk_pending(sim->fake), index;

	if (count == 0 || fake_disk_is_cut(sim->fake))
		return;
	index = (uint32_t)sim_below(sim, count);
	if (sim_chance(sim, sim->config.fail)) {
		sim->totals->writes_failed++;
		sim_note(sim, "write fails", index, 0);
		fake_disk_complete(sim->fake, index, -USH_EIO);
	} else if (sim_chance(sim, sim->config.cut_short)) {
		size_t size = fake_disk_write_at(sim->fake, index)->size;
		int64_t part = (int64_t)(sim_below(sim, size / FAKE_SECTOR) * FAKE_SECTOR);

		sim->totals->writes_short++;
		sim_note(sim, "write short", index, (uint64_t)part);
		fake_disk_complete(sim->fake, index, part);
	} else if (!(sim_chance(sim, sim->config.misdirect) && lie(sim, index, true)) &&
		   !(sim_chance(sim, sim->config.unwritten) && lie(sim, index, false))) {
		complete_well(sim, index);
	}
}

void sim_disk_complete_all(struct sim *sim)
{
	while (fake_disk_pending(sim->fake) != 0 && !sim->failed)
		complete_well(sim, 0);
}

void sim_disk_crash(struct sim *sim, bool power)
{
	/* Without power a write is torn or lost; else the kernel ends what it was given. */
	if (!power && !fake_disk_is_cut(sim->fake))
		sim_disk_complete_all(sim);
	drop_early(sim);
	for (uint64_t b = sim->confirmed; b < sim->blocks_room; b++)
		sim->blocks[b] = (struct sim_block){0};
	fake_disk_power_cycle(sim->fake);
}

/* The journal's table is the fake disk's, but for what completes by itself when there is no
 * scheduler: in an orderly end. */
static int reap(void *context, struct ush_disk_done *done, uint32_t max)
{
	struct sim *sim = context;

	if (sim->disk_is_prompt)
		sim_disk_complete_all(sim);
	return sim->under.reap(sim->under.context, done, max);
}

static struct sim *reaping;

static int reap_fake(void *context, struct ush_disk_done *done, uint32_t max)
{
	(void)context;
	return reap(reaping, done, max);
}

void sim_disk_make(struct sim *sim)
{
	sim->fake = fake_disk_make(ush_random_next(&sim->random));
	fake_disk_table(sim->fake, &sim->under);
	fake_disk_order(sim->fake, FAKE_BY_HAND);
	sim->disk = sim->under;
	sim->disk.reap = reap_fake;
	reaping = sim;
	sim->confirmed = 1;
	sim->bad_block = UINT64_MAX;
	for (uint64_t b = 0; b < sim->blocks_room; b++)
		sim->blocks[b] = (struct sim_block){0};
}

void sim_disk_free(struct sim *sim)
{
	drop_early(sim);
	while (sim->mend_count != 0) {
		struct sim_mend *mend = &sim->mends[--sim->mend_count];
		free(mend->right);
		free(mend->wrong);
	}
	fake_disk_free(sim->fake);
}
