/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher token: makes access tokens with a key of an admission file, and checks them as a box would.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admission/admission_file.h"
#include "admit/golden.h"
#include "tools/usher.h"

#define TOKEN_BYTES 32u

static const char usage[] =
	"usage: usher token mint --keys FILE --event N --user N [--tier N] [--seconds N]\n"
	"                        [--key-id N]\n"
	"       usher token check --keys FILE --event N --user N TOKEN\n"
	"\n"
	"An access token lets one user hold seats of one event until it expires. It is printed as\n"
	"hex: the TOKEN extension, to be put behind a request as it is.\n"
	"\n"
	"  --keys FILE   admission file (docs/admission.md), mode 0600\n"
	"  --event N     event, 1 to 65535\n"
	"  --user N      user\n"
	"  --tier N      0 to 255 (default 0)\n"
	"  --seconds N   how long it is good (default 300)\n"
	"  --key-id N    which key (default: the first that is live)\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 made, or good; 1 not good (its verdict is printed) or no key; 2 usage.\n"
	"\n"
	"Example: usher token mint --keys /var/lib/usher/admission --event 7 --user 42\n";

struct asked {
	const char *keys;
	uint64_t event;
	uint64_t user;
	uint64_t tier;
	uint64_t seconds;
	/* -1: any. */
	int key_id;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ret: false, with words, if the text is no number of that range. */
static bool ranged(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	if (usher_number(text, value) && *value >= min && *value <= max)
		return true;
	fprintf(stderr, "usher token: --%s %s: allowed is %" PRIu64 " to %" PRIu64 "\n", name, text,
		min, max);
	return false;
}

/* ret: 0, USHER_USAGE, or -1: help was printed. */
static int options(int argc, char **argv, struct asked *asked)
{
	static const struct option longs[] = {{"keys", required_argument, NULL, 'k'},
		{"event", required_argument, NULL, 'e'}, {"user", required_argument, NULL, 'u'},
		{"tier", required_argument, NULL, 't'}, {"seconds", required_argument, NULL, 's'},
		{"key-id", required_argument, NULL, 'i'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	uint64_t id;
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		bool good = true;
		switch (c) {
		case 'k':
			asked->keys = optarg;
			break;
		case 'e':
			good = ranged("event", optarg, 1, USH_EVENT_ID_MAX, &asked->event);
			break;
		case 'u':
			good = ranged("user", optarg, 1, UINT64_MAX, &asked->user);
			break;
		case 't':
			good = ranged("tier", optarg, 0, 255, &asked->tier);
			break;
		case 's':
			good = ranged("seconds", optarg, 0, 1000000000, &asked->seconds);
			break;
		case 'i':
			good = ranged("key-id", optarg, 0, 255, &id);
			asked->key_id = (int)id;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			good = false;
			break;
		}
		if (!good)
			return USHER_USAGE;
	}
	return 0;
}

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static int mint(const struct asked *asked, const struct ush_admit_config *config)
{
	const struct ush_admit_key *key = NULL;
	uint8_t token[TOKEN_BYTES];

	for (uint32_t i = 2; i-- > 0;) {
		const struct ush_admit_key *k = &config->token[i];
		if (k->live != 0 && (asked->key_id < 0 || k->id == (uint32_t)asked->key_id))
			key = k;
	}
	if (key == NULL) {
		fprintf(stderr, "usher token: %s: no such token key\n", asked->keys);
		return USHER_FAILED;
	}
	put(token, USH_EXTENSION_TOKEN, 2);
	put(token + 2, TOKEN_BYTES, 2);
	put(token + 4, asked->tier | key->id << 8 | asked->event << 16, 4);
	put(token + 8, asked->user, 8);
	put(token + 16, now_ns() + asked->seconds * 1000000000ull, 8);
	put(token + 24, ush_siphash(&key->key, token, 24), 8);
	for (uint32_t i = 0; i < TOKEN_BYTES; i++)
		printf("%02x", token[i]);
	printf("\n");
	return USHER_OK;
}

/* A RESERVE with that token, judged by the golden function: only its token is looked at. */
static int check(const struct asked *asked, struct ush_admit_config *config, const char *text)
{
	static const char *const names[USH_VERDICT_COUNT] = {
#define X(name, value) [value] = #name,
		USH_VERDICT_EACH(X)
#undef X
	};
	static const uint8_t source[16];
	uint8_t payload[USH_REQUEST_BYTES + TOKEN_BYTES] = {0};
	struct ush_admit_state state = {0};
	struct ush_admit_says says;

	if (strlen(text) != 2 * TOKEN_BYTES ||
		strspn(text, "0123456789abcdefABCDEF") != 2 * TOKEN_BYTES) {
		fprintf(stderr, "usher token: a token is %u hex digits\n", 2 * TOKEN_BYTES);
		return USHER_USAGE;
	}
	put(payload, USH_REQUEST_MAGIC, 2);
	put(payload + 2, USH_VERSION, 1);
	put(payload + 3, USH_OP_RESERVE, 1);
	put(payload + 4, sizeof(payload), 2);
	put(payload + 8, asked->event, 4);
	put(payload + 16, asked->user, 8);
	for (uint32_t i = 0; i < TOKEN_BYTES; i++) {
		char pair[3] = {text[2 * i], text[2 * i + 1], 0};
		payload[USH_REQUEST_BYTES + i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	config->checks = USH_ADMISSION_CHECK_TOKEN;
	ush_golden_payload(config, &state, source, payload, sizeof(payload), now_ns(), &says);
	printf("%s\n", names[says.verdict]);
	return says.verdict == USH_VERDICT_PASS ? USHER_OK : USHER_FAILED;
}

int cmd_token(int argc, char **argv)
{
	static struct ush_admit_config config;
	struct asked asked = {.seconds = 300, .key_id = -1};
	struct ush_message message;
	bool minting;
	int status;

	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return USHER_OK;
	}
	minting = argc >= 2 && strcmp(argv[1], "mint") == 0;
	if (argc >= 2 && (minting || strcmp(argv[1], "check") == 0)) {
		argv[1] = argv[0];
		argc--;
		argv++;
	} else if (argc < 2 || argv[1][0] != '-') {
		fprintf(stderr, "usher token: mint or check; see usher token --help\n");
		return USHER_USAGE;
	}
	status = options(argc, argv, &asked);
	if (status != 0)
		return status < 0 ? USHER_OK : status;
	if (asked.keys == NULL || asked.event == 0 || asked.user == 0 ||
		argc - optind != (minting ? 0 : 1)) {
		fprintf(stderr, "usher token: --keys, --event and --user are needed%s\n",
			minting ? "" : ", and a token");
		return USHER_USAGE;
	}
	if (ush_admission_read(asked.keys, &config, &message) != 0) {
		fprintf(stderr, "usher token: %s\n", message.text);
		return USHER_FAILED;
	}
	return minting ? mint(&asked, &config) : check(&asked, &config, argv[optind]);
}
