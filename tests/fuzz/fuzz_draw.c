/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzer of the reader of draw files and of what checks them.
 *
 * The input is the text of a draw file; random bytes seldom are one, so every input is also put
 * into the middle of a good file, over what was there, and read as a list of places.
 */
#include <stdlib.h>
#include <string.h>

#include "room/draw_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEX_ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static const char good[] =
	"{\"format\":\"usher-draw-1\",\"event\":7,\"seed_hash\":\"" HEX_ZERO
	"\",\"seed\":\"" HEX_ZERO "\",\"root\":\"" HEX_ZERO
	"\",\"beacon\":{\"source\":\"a\",\"round\":1,\"value\":\"" HEX_ZERO
	"\"},\"count\":3,\"tiers\":[1,0,2,0,0,0,0],\"users\":[\"0000000000000001\","
	"\"0000000000000002\",\"0000000000000003\"],\"proof\":{\"user\":\"0000000000000002\","
	"\"tier\":2,\"index\":0,\"path\":[\"" HEX_ZERO "\",\"" HEX_ZERO "\"]}}";

/* What was read can be checked, and drawn. */
static void use(struct ush_draw_file *file)
{
	struct ush_message message = {""};
	struct ush_draw_check check;
	uint32_t tier = 0, index = 0;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < USH_DRAW_TIERS; i++)
		sum += file->counts[i];
	USH_ASSERT(sum == file->count);
	/* A count of millions without a list is good, and slow to draw. */
	if (file->count > 100000)
		return;
	/* Made right, so that what follows is reached. */
	ush_draw_seed_hash(file->event, file->seed, file->seed_hash);
	if (file->users != NULL)
		ush_draw_root(file, file->root);
	if (ush_draw_check(file, &check, &message) != 0) {
		USH_ASSERT(strncmp(message.text, "draw: ", 6) == 0);
		return;
	}
	if (ush_draw_find_user(file, 2, &tier, &index)) {
		void *tables = malloc(ush_draw_bytes(file->count));
		struct ush_draw draw;
		uint32_t back;

		if (tables == NULL)
			return;
		ush_draw_open(&draw, tables, file->counts, check.key, ush_sha256);
		USH_ASSERT(
			ush_draw_place(&draw, ush_draw_number(&draw, tier, index), &back) == tier);
		USH_ASSERT(back == index);
		free(tables);
	}
}

static void read_text(const char *text, size_t size, const uint8_t *list, size_t list_size)
{
	struct ush_message message = {""};
	struct ush_draw_file file;

	if (ush_draw_file_read(text, size, &file, &message) != 0) {
		/* Every refusal says what. */
		USH_ASSERT(strncmp(message.text, "draw: ", 6) == 0);
		return;
	}
	use(&file);
	if (ush_draw_list_read((const char *)list, list_size, &file, &message) == 0)
		use(&file);
	ush_draw_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[sizeof(good)];
	size_t at;

	read_text((const char *)data, size, data, size);
	memcpy(text, good, sizeof(good));
	if (size >= 3) {
		/* The first two bytes say where. */
		at = ((size_t)data[0] << 8 | data[1]) % (sizeof(good) - 1);
		size = ush_min64(size - 2, sizeof(good) - 1 - at);
		memcpy(text + at, data + 2, size);
	}
	read_text(text, sizeof(good) - 1, data, size);
	return 0;
}
