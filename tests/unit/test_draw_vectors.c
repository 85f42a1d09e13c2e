/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The draw and its tree against tests/vectors/draw.json, which test_draw.py makes from
 * docs/draw.md.
 *
 * Owns:  nothing.
 * Reads: the file of vectors named on the command line.
 * Never: DPDK.
 */
#include <jansson.h>
#include <string.h>

#include "../tap.h"
#include "room/draw_file.h"

static json_t *vectors;

static uint64_t number_at(const json_t *array, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(array, i));
}

static uint32_t member(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static void hex_at(const json_t *text, uint8_t *bytes)
{
	const char *digits = json_string_value(text);

	for (size_t i = 0; digits[2 * i] != '\0'; i++) {
		char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};

		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
}

/* An entry of `draws` is a draw file with three members more. */
static void read_draw(const json_t *entry, struct ush_draw_file *file)
{
	struct ush_message message = {""};
	json_t *copy = json_copy((json_t *)(uintptr_t)entry);
	char *text;

	json_object_del(copy, "key");
	json_object_del(copy, "numbers");
	json_object_del(copy, "proofs");
	text = json_dumps(copy, JSON_COMPACT);
	CHECK_EQ(ush_draw_file_read(text, strlen(text), file, &message), 0);
	if (message.text[0] != '\0')
		printf("# %s\n", message.text);
	free(text);
	json_decref(copy);
}

static void leaf_of(void *context, uint64_t at, uint8_t leaf[USH_HASH_BYTES])
{
	const struct ush_draw_file *file = context;
	uint64_t end = 0;
	uint32_t tier = 0;

	while (at >= (end += file->counts[tier]))
		tier++;
	ush_draw_leaf(tier, file->users[at], leaf);
}

static void check_numbers(const json_t *numbers, const struct ush_draw_file *file)
{
	struct ush_draw_check check;
	struct ush_message message;
	struct ush_draw draw;
	void *tables = malloc(ush_draw_bytes(file->count));
	size_t place = 0;

	CHECK_EQ(ush_draw_check(file, &check, &message), 0);
	CHECK(check.root_checked);
	ush_draw_open(&draw, tables, file->counts, check.key, ush_sha256);
	for (uint32_t tier = 0; tier < USH_DRAW_TIERS; tier++) {
		for (uint32_t i = 0; i < file->counts[tier]; i++, place++) {
			uint32_t back;

			CHECK_EQ(ush_draw_number(&draw, tier, i), number_at(numbers, place));
			CHECK_EQ(ush_draw_place(&draw, number_at(numbers, place), &back), tier);
			CHECK_EQ(back, i);
		}
	}
	CHECK_EQ(json_array_size(numbers), place);
	CHECK_EQ(ush_draw_number(&draw, USH_DRAW_TIER_FIFO, 5), (uint64_t)file->count + 5);
	free(tables);
}

/* Each proof, and how it must not be: any bit of any hash, the next place, a longer or shorter
 * path. */
static void check_proof(const json_t *proof, struct ush_draw_file *file)
{
	uint8_t want[USH_MERKLE_PATH_MAX][USH_HASH_BYTES], leaf[USH_HASH_BYTES];
	uint8_t got[USH_MERKLE_PATH_MAX][USH_HASH_BYTES];
	uint32_t at = member(proof, "index"), count;
	const json_t *path = json_object_get(proof, "path");

	for (uint32_t i = 0; i < member(proof, "tier"); i++)
		at += file->counts[i];
	for (size_t i = 0; i < json_array_size(path); i++)
		hex_at(json_array_get(path, i), want[i]);
	count = ush_merkle_path(leaf_of, file, at, file->count, got);
	CHECK_EQ(count, json_array_size(path));
	CHECK(memcmp(got, want, count * USH_HASH_BYTES) == 0);
	leaf_of(file, at, leaf);
	CHECK(ush_merkle_check(leaf, at, file->count, got, count, file->root));
	CHECK(!ush_merkle_check(leaf, at + 1, file->count, got, count, file->root));
	CHECK(!ush_merkle_check(leaf, file->count, file->count, got, count, file->root));
	CHECK(!ush_merkle_check(leaf, at, file->count, got, count + 1, file->root));
	if (count == 0)
		return;
	CHECK(!ush_merkle_check(leaf, at, file->count, got, count - 1, file->root));
	for (uint32_t bit = 0; bit < count * USH_HASH_BYTES * 8; bit += 7) {
		got[bit / 256][bit % 256 / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(!ush_merkle_check(leaf, at, file->count, got, count, file->root));
		got[bit / 256][bit % 256 / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Goal: roots, keys, numbers and proofs are the document's. */
static void test_draw_vectors_small(void)
{
	const json_t *entry, *proof;
	size_t i, j;

	CHECK(json_array_size(json_object_get(vectors, "draws")) >= 8);
	json_array_foreach(json_object_get(vectors, "draws"), i, entry)
	{
		struct ush_draw_file file = {0};
		uint8_t want[32], got[32];

		read_draw(entry, &file);
		hex_at(json_object_get(entry, "key"), want);
		ush_draw_key(&file, got);
		CHECK(memcmp(want, got, 32) == 0);
		check_numbers(json_object_get(entry, "numbers"), &file);
		json_array_foreach(json_object_get(entry, "proofs"), j, proof)
			check_proof(proof, &file);
		ush_draw_file_close(&file);
	}
}

/* Goal: numbers of large tiers are the document's, and go back. */
static void test_draw_vectors_large(void)
{
	const json_t *entry;
	size_t i;

	CHECK(json_array_size(json_object_get(vectors, "large")) >= 6);
	json_array_foreach(json_object_get(vectors, "large"), i, entry)
	{
		const json_t *indices = json_object_get(entry, "index");
		uint32_t tier = member(entry, "tier"), counts[USH_DRAW_TIERS] = {0}, back;
		void *tables = malloc(ush_draw_bytes(member(entry, "count")));
		struct ush_draw draw;
		uint8_t key[32];

		counts[tier] = member(entry, "count");
		hex_at(json_object_get(entry, "key"), key);
		ush_draw_open(&draw, tables, counts, key, ush_sha256);
		for (size_t j = 0; j < json_array_size(indices); j++) {
			uint64_t want = number_at(json_object_get(entry, "permuted"), j);

			CHECK_EQ(ush_draw_number(&draw, tier, (uint32_t)number_at(indices, j)),
				want);
			CHECK_EQ(ush_draw_place(&draw, want, &back), tier);
			CHECK_EQ(back, number_at(indices, j));
		}
		free(tables);
	}
}

int main(int argc, char **argv)
{
	json_error_t error;

	vectors = json_load_file(argc > 1 ? argv[1] : "tests/vectors/draw.json", 0, &error);
	if (vectors == NULL) {
		printf("Bail out! %s\n", error.text);
		return 1;
	}
	TAP_RUN(test_draw_vectors_small);
	TAP_RUN(test_draw_vectors_large);
	json_decref(vectors);
	return tap_end();
}
