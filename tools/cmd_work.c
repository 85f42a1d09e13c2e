/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher work: the reference solver of proofs of work (docs/admission.md, section 7.5).
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "tools/usher.h"
#include "wire/wire.h"

static const char usage[] =
	"usage: usher work solve --event N --user N --id N --bits N --salt HEX [--time NS]\n"
	"\n"
	"Finds a nonce for one request and prints the WORK extension as hex, to be put behind the\n"
	"request (behind its TOKEN) as it is. Bits and salt are those of the refusal\n"
	"PROOF_OF_WORK: detail >> 8, and amount.\n"
	"\n"
	"  --event N     event, 1 to 65535\n"
	"  --user N      user\n"
	"  --id N        request id\n"
	"  --bits N      difficulty, 1 to 40: 2^N tries on the average\n"
	"  --salt HEX    salt of the event's policy\n"
	"  --time NS     time of the challenge, Unix ns (default: now)\n"
	"  --help        this text\n"
	"\n"
	"Example: usher work solve --event 7 --user 42 --id 1 --bits 18 --salt 5a17\n";

struct asked {
	uint64_t event, user, id, bits, salt, time_ns;
};

static bool ranged(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	if (usher_number(text, value) && *value >= min && *value <= max)
		return true;
	fprintf(stderr, "usher work: --%s %s: allowed is %" PRIu64 " to %" PRIu64 "\n", name, text,
		min, max);
	return false;
}

static bool hex(const char *text, uint64_t *value)
{
	char end;

	if (strspn(text, "0123456789abcdefABCDEF") == strlen(text) && strlen(text) <= 16 &&
		sscanf(text, "%" SCNx64 "%c", value, &end) == 1)
		return true;
	fprintf(stderr, "usher work: --salt %s: allowed are up to 16 hex digits\n", text);
	return false;
}

/* ret: 0, USHER_USAGE, or -1: help was printed. */
static int options(int argc, char **argv, struct asked *a)
{
	static const struct option longs[] = {{"event", required_argument, NULL, 'e'},
		{"user", required_argument, NULL, 'u'}, {"id", required_argument, NULL, 'i'},
		{"bits", required_argument, NULL, 'b'}, {"salt", required_argument, NULL, 's'},
		{"time", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		bool good = true;
		if (c == 'h') {
			fputs(usage, stdout);
			return -1;
		}
		if (c == 'e')
			good = ranged("event", optarg, 1, USH_EVENT_ID_MAX, &a->event);
		else if (c == 'u')
			good = ranged("user", optarg, 1, UINT64_MAX, &a->user);
		else if (c == 'i')
			good = ranged("id", optarg, 0, UINT32_MAX, &a->id);
		else if (c == 'b')
			good = ranged("bits", optarg, 1, USH_ADMIT_WORK_BITS_MAX, &a->bits);
		else if (c == 't')
			good = ranged("time", optarg, 1, UINT64_MAX, &a->time_ns);
		else if (c == 's')
			good = hex(optarg, &a->salt);
		else
			good = false;
		if (!good)
			return USHER_USAGE;
	}
	return 0;
}

/* ret: the first nonce that will do. cost: 2^bits hashes on the average. */
static uint64_t solve(const struct asked *a)
{
	struct ush_key key = {a->user, a->salt};
	uint64_t words[3] = {a->event | a->id << 32, a->time_ns, 0};

	while (ush_siphash(&key, words, sizeof(words)) >> (64 - a->bits) != 0)
		words[2]++;
	return words[2];
}

int cmd_work(int argc, char **argv)
{
	struct asked asked = {0};
	struct timespec t;
	uint8_t work[24] = {USH_EXTENSION_WORK, 0, 24};
	uint64_t nonce;
	int status;

	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return USHER_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "solve") == 0) {
		argv[1] = argv[0];
		argc--;
		argv++;
	} else if (argc < 2 || argv[1][0] != '-') {
		fprintf(stderr, "usher work: solve; see usher work --help\n");
		return USHER_USAGE;
	}
	clock_gettime(CLOCK_REALTIME, &t);
	asked.time_ns = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
	status = options(argc, argv, &asked);
	if (status != 0)
		return status < 0 ? USHER_OK : status;
	if (asked.event == 0 || asked.user == 0 || asked.bits == 0 || optind != argc) {
		fprintf(stderr, "usher work: --event, --user and --bits are needed\n");
		return USHER_USAGE;
	}
	nonce = solve(&asked);
	memcpy(work + 4, &asked.bits, 4);
	memcpy(work + 8, &asked.time_ns, 8);
	memcpy(work + 16, &nonce, 8);
	for (uint32_t i = 0; i < sizeof(work); i++)
		printf("%02x", work[i]);
	printf("\n");
	return USHER_OK;
}
