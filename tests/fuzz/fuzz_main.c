/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: the files named, or inputs made from a seed.
 *
 *     fuzz_parse FILE...            each file once: to repeat a crash
 *     fuzz_parse -runs=N [-max=B]   N random inputs of up to B bytes (2,048), from USH_SEED
 *
 * Half of the random inputs are earlier ones changed a little, so that what got past the first
 * checks is tried further. On a crash the input is left in the file fuzz.last.
 *
 * Owns:  the inputs.
 * Reads: files named, USH_SEED.
 * Never: linked into libFuzzer builds.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#define POOL 64u
#define BYTES_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t pool[POOL][BYTES_MAX];
static size_t pool_bytes[POOL];
static uint32_t current;
static const char *name;

/* Leaves the input behind; only what a signal handler may call. */
static void on_crash(int signal_number)
{
	static const char text[] = "fuzz: crash; the input was written to fuzz.last\n";
	FILE *file = fopen("fuzz.last", "wb");

	if (file != NULL) {
		fwrite(pool[current], 1, pool_bytes[current], file);
		fclose(file);
		if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			_exit(2);
	}
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static int run_file(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (file == NULL) {
		perror(path);
		return 1;
	}
	pool_bytes[0] = fread(pool[0], 1, BYTES_MAX, file);
	fclose(file);
	LLVMFuzzerTestOneInput(pool[0], pool_bytes[0]);
	printf("%s: %zu bytes, no fault\n", path, pool_bytes[0]);
	return 0;
}

static void make_random(struct ush_random *random, uint8_t *data, size_t *bytes, size_t max)
{
	*bytes = ush_random_below(random, max + 1);
	for (size_t i = 0; i < *bytes; i++)
		data[i] = (uint8_t)(ush_random_next(random) >> 40);
}

/* A few bytes changed, a piece moved, or the end cut off or drawn out. */
static void change(struct ush_random *random, uint8_t *data, size_t *bytes, size_t max)
{
	for (uint64_t n = 1 + ush_random_below(random, 8); n > 0 && *bytes != 0; n--) {
		size_t at = ush_random_below(random, *bytes);
		size_t from = ush_random_below(random, *bytes);
		size_t most = *bytes - (at > from ? at : from);

		switch (ush_random_below(random, 5)) {
		case 0:
			data[at] = (uint8_t)(ush_random_next(random) >> 40);
			break;
		case 1:
			data[at] ^= (uint8_t)(1u << ush_random_below(random, 8));
			break;
		case 2:
			memmove(data + at, data + from, ush_random_below(random, most + 1));
			break;
		case 3:
			*bytes = at + 1;
			break;
		default:
			*bytes = ush_min64(*bytes + ush_random_below(random, 64), max);
			break;
		}
	}
}

static void run_random(uint64_t runs, size_t max)
{
	const char *seed = getenv("USH_SEED");
	struct ush_random random;

	ush_random_init(&random, seed != NULL ? strtoull(seed, NULL, 0) : 1);
	for (uint64_t i = 0; i < runs; i++) {
		uint32_t from = (uint32_t)ush_random_below(&random, POOL);

		current = (uint32_t)ush_random_below(&random, POOL);
		if (i < POOL || ush_random_below(&random, 2) == 0) {
			make_random(&random, pool[current], &pool_bytes[current], max);
		} else {
			if (current != from)
				memcpy(pool[current], pool[from], pool_bytes[from]);
			pool_bytes[current] = pool_bytes[from];
			change(&random, pool[current], &pool_bytes[current], max);
		}
		LLVMFuzzerTestOneInput(pool[current], pool_bytes[current]);
	}
	printf("# USH_SEED=%s\n", seed != NULL ? seed : "1");
	printf("%s: %llu inputs, no fault\n", name, (unsigned long long)runs);
}

int main(int argc, char **argv)
{
	uint64_t runs = 0;
	size_t max = 2048;
	int failed = 0;

	name = argv[0];
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = strtoull(argv[i] + 6, NULL, 0);
		else if (strncmp(argv[i], "-max=", 5) == 0)
			max = strtoull(argv[i] + 5, NULL, 0);
		else
			failed |= run_file(argv[i]);
	}
	if (max > BYTES_MAX)
		max = BYTES_MAX;
	if (runs != 0)
		run_random(runs, max);
	return failed;
}
