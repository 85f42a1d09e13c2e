/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter against the golden function: every frame that it judges, every byte that comes out,
 * every counter. Ends with a line of JSON.
 *
 * usage: hw-equiv [--packets N] [--seed N] [--easy | --speed BYTES]
 *
 *   --packets N  frames, default 100000
 *   --seed N     default 1
 *   --easy       a beat a clock, no errors
 *   --speed N    only the simulation: STATUS requests of N bytes in bursts of 64, nothing is
 * compared
 *
 * Exit status 0 only if nothing differs and, from 200,000 frames on, every verdict was met.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admit/contract.h"
#include "admit/golden.h"
#include "hw/sim/filter.h"
#include "hw/tb/draw.h"
#include "hw/tb/frames.h"

#define BURST 64u
#define BURSTS_PER_CONFIG 64u
#define SECOND 1000000000ull

static struct ush_admit_config config, written;
static struct ush_admit_state golden;
static struct ush_admit_set *golden_sets[2];
static uint8_t in[BURST][DRAW_BYTES_MAX], out[BURST][DRAW_BYTES_MAX + 64];
static struct ush_filter_frame frames[BURST];
static struct draw draw;

/* What the counters ought to be. */
static uint64_t verdicts[USH_VERDICT_COUNT];
static uint64_t received, full, long_, error, passed, discarded, bypassed, repeated;
static uint64_t mismatches, packets;
static bool easy, bypass;

static void differs(const char *what, uint64_t is, uint64_t ought)
{
	mismatches++;
	if (mismatches <= 20)
		printf("# packet %" PRIu64 ": %s is %" PRIu64 ", expected %" PRIu64 "\n", packets,
			what, is, ought);
}

static void equal(const char *what, uint64_t is, uint64_t ought)
{
	if (is != ought)
		differs(what, is, ought);
}

/* ret: the set of the user's bucket, if this is a new hold whose user is limited; else NULL. */
static const struct ush_admit_set *user_set(const struct ush_filter_frame *frame)
{
	uint8_t source[16], policy = 0;
	uint32_t at = 0, size = 0, event;
	uint64_t user, hash;

	if ((config.checks & USH_ADMISSION_CHECK_USER) == 0 ||
		ush_golden_frame(&config, frame->data, frame->length, source, &at, &size) !=
			USH_VERDICT_PASS ||
		size < 64 || ush_golden_class(frame->data[at + 3]) != USH_OP_CLASS_NEW_HOLD)
		return NULL;
	memcpy(&event, frame->data + at + 8, sizeof(event));
	memcpy(&user, frame->data + at + 16, sizeof(user));
	if (event <= USH_EVENT_ID_MAX)
		policy = config.event[event] & USH_ADMIT_EVENT_POLICY;
	if (config.policy[policy].user.interval_ns == 0)
		return NULL;
	hash = ush_siphash_2(&config.table_key, user, 1ull << 32 | event);
	return &golden_sets[1][hash & ((1u << golden.users.set_bits) - 1)];
}

static void check_judged(const struct ush_filter_frame *frame)
{
	const struct ush_admit_set *set = user_set(frame);
	struct ush_admit_set before = {0};
	struct ush_admit_says says = {0};
	bool pass, repeat = false;

	if (!bypass) {
		if (set != NULL)
			before = *set;
		ush_golden(&config, &golden, frame->data, frame->length, frame->now_ns, &says);
		/* Let in, and nothing changed by it: the user's last request again. */
		repeat = set != NULL && says.verdict == USH_VERDICT_PASS &&
			 memcmp(&before, set, sizeof(before)) == 0;
		verdicts[says.verdict]++;
	}
	pass = says.verdict == USH_VERDICT_PASS || says.verdict == USH_VERDICT_HOST;
	passed += pass;
	discarded += !pass;
	bypassed += bypass;
	repeated += repeat;
	equal("verdict", frame->verdict, says.verdict);
	equal("out", frame->out_length, pass ? frame->length : 0);
	if (pass && frame->out_length == frame->length) {
		equal("bytes", (uint64_t)memcmp(frame->data, frame->out, frame->length) != 0, 0);
		equal("mark", frame->mark, repeat);
	}
}

static void check_frame(const struct ush_filter_frame *frame, bool may_drop)
{
	bool too_long = frame->length > USH_FILTER_BEATS_MAX * 64;

	received++;
	packets++;
	if (frame->judged) {
		equal("judged in error", frame->error, 0);
		equal("judged too long", too_long, 0);
		check_judged(frame);
		return;
	}
	equal("out though dropped", frame->out_length, 0);
	if (frame->error) {
		error++;
	} else if (too_long) {
		long_++;
	} else {
		equal("dropped", may_drop, true);
		full++;
	}
}

static void burst(struct ush_filter *filter)
{
	struct ush_filter_stress stress = {.seed = ush_random_next(&draw.chance), .noise = !easy};
	uint32_t count = 1 + (uint32_t)draw_below(&draw, BURST);

	if (easy)
		count = BURST;
	else if (draw_one_in(&draw, 2))
		stress.gap = (uint32_t)draw_below(&draw, 200);
	if (!easy && draw_one_in(&draw, 2))
		stress.stall = (uint32_t)draw_below(&draw, draw_one_in(&draw, 8) ? 250 : 128);
	for (uint32_t i = 0; i < count; i++) {
		memset(out[i], 0, sizeof(out[i]));
		frames[i] = (struct ush_filter_frame){
			.data = in[i],
			.length = draw_frame(&draw, &config, in[i]),
			.error = !easy && draw_one_in(&draw, 50),
			.out = out[i],
		};
	}
	ush_filter_burst(filter, frames, count, &stress);
	for (uint32_t i = 0; i < count; i++)
		check_frame(&frames[i], stress.stall != 0);
}

static void check_counters(struct ush_filter *filter)
{
	static const uint32_t at[] = {USH_FILTER_REGISTER_RECEIVED, USH_FILTER_REGISTER_DROP_FULL,
		USH_FILTER_REGISTER_DROP_LONG, USH_FILTER_REGISTER_DROP_ERROR,
		USH_FILTER_REGISTER_PASSED, USH_FILTER_REGISTER_DISCARDED,
		USH_FILTER_REGISTER_BYPASSED, USH_FILTER_REGISTER_REPEATED,
		USH_FILTER_REGISTER_SOURCE_EVICTED, USH_FILTER_REGISTER_USER_EVICTED};
	uint64_t ought[] = {received, full, long_, error, passed, discarded, bypassed, repeated,
		golden.sources.evicted, golden.users.evicted};
	uint64_t sum = 0;

	for (uint32_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		equal("counter", ush_filter_count(filter, at[i]), ought[i]);
	for (uint32_t v = 0; v < USH_VERDICT_COUNT; v++) {
		equal("verdicts", ush_filter_count(filter, USH_FILTER_REGISTER_VERDICTS + 8 * v),
			verdicts[v]);
		sum += verdicts[v];
	}
	equal("sum of verdicts", sum, passed + discarded - bypassed);
	equal("stable stream", ush_filter_unstable(filter), 0);
}

/* The clock stands, or runs: then frames say what it was. */
static void set_time(struct ush_filter *filter)
{
	draw.now_ns += draw_one_in(&draw, 3) ? 0 : draw_below(&draw, SECOND / 8);
	/* The very moment at which some bucket is full again. */
	if (draw_one_in(&draw, 3)) {
		const struct ush_admit_set *set = &golden_sets[draw_below(&draw, 2)][draw_below(
			&draw, 1u << golden.sources.set_bits)];
		uint64_t until_ns = set->until_ns[draw_below(&draw, 4)];
		/* Far ahead now and then: much is full again then, and some of it from that moment
		 * on. */
		if (until_ns < draw.now_ns + 10 * SECOND || draw_one_in(&draw, 4))
			draw.now_ns = ush_max64(draw.now_ns, until_ns);
	}
	/* Or the one that a set would give up next, while all of it is in debt. */
	if (draw_one_in(&draw, 6)) {
		uint32_t sets = 1u << golden.sources.set_bits;
		uint64_t from = draw_below(&draw, sets);
		for (uint32_t i = 0; i < sets; i++) {
			const uint64_t *u = golden_sets[i & 1][(from + i) & (sets - 1)].until_ns;
			uint64_t least = ush_min64(ush_min64(u[0], u[1]), ush_min64(u[2], u[3]));
			if (least > draw.now_ns) {
				draw.now_ns = least;
				break;
			}
		}
	}
	ush_filter_set_time(filter, draw.now_ns);
}

static void new_config(struct ush_filter *filter, bool first)
{
	uint32_t step = !easy && draw_one_in(&draw, 8) ? (uint32_t)draw_below(&draw, 1u << 28) : 0;

	draw_config(&draw, &config);
	golden.load_bits = (uint32_t)draw_below(&draw, 3);
	equal("checks",
		ush_filter_configure(filter, &config, first ? NULL : &written, golden.load_bits),
		config.checks);
	written = config;
	bypass = !easy && draw_one_in(&draw, 20);
	ush_filter_write(filter, USH_FILTER_REGISTER_CONTROL, bypass);
	ush_filter_write(filter, USH_FILTER_REGISTER_CLOCK_STEP, step);
}

static void start(struct ush_filter *filter, uint64_t seed)
{
	uint32_t can = ush_filter_read(filter, USH_FILTER_REGISTER_CAPABILITIES);

	ush_random_init(&draw.chance, seed);
	draw.now_ns = 1700000000 * SECOND;
	golden = (struct ush_admit_state){
		.sources = {.set_bits = can >> 8 & 0xff}, .users = {.set_bits = can >> 16 & 0xff}};
	USH_ASSERT(golden.sources.set_bits == golden.users.set_bits && golden.users.set_bits <= 12);
	for (uint32_t i = 0; i < 2; i++)
		golden_sets[i] = calloc(1u << golden.users.set_bits, sizeof(struct ush_admit_set));
	USH_ASSERT(golden_sets[0] != NULL && golden_sets[1] != NULL);
	golden.sources.sets = golden_sets[0];
	golden.users.sets = golden_sets[1];
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Frames of one size that pass, as fast as they can be simulated. */
static void run_speed(struct ush_filter *filter, uint64_t wanted, uint32_t bytes)
{
	static struct build b;

	build_4(&b, USH_OP_STATUS, 0, 0, 0);
	build_resize(&b, bytes - b.payload);
	for (uint32_t i = 0; i < BURST; i++)
		frames[i] = (struct ush_filter_frame){
			.data = b.frame, .length = b.length, .out = out[i]};
	for (; packets < wanted; packets += BURST) {
		ush_filter_burst(filter, frames, BURST, NULL);
		equal("passed", frames[BURST - 1].passed, 1);
	}
}

static void run_equivalence(struct ush_filter *filter, uint64_t wanted)
{
	for (uint64_t i = 0; packets < wanted && mismatches < 20; i++) {
		if (i % BURSTS_PER_CONFIG == 0) {
			if (i != 0)
				check_counters(filter);
			new_config(filter, i == 0);
		}
		set_time(filter);
		burst(filter);
	}
	check_counters(filter);
	for (uint32_t v = 0; v < USH_VERDICT_COUNT; v++) {
		bool mac = v >= USH_VERDICT_MAC_MISSING && v <= USH_VERDICT_MAC_FORGED;
		if (wanted >= 200000 && !mac && verdicts[v] == 0)
			differs("count of a verdict", 0, 1);
	}
}

int main(int argc, char **argv)
{
	uint64_t wanted = 100000, seed = 1, speed = 0;
	struct ush_filter *filter;
	double began;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--easy") == 0)
			easy = true;
		else if (strcmp(argv[i], "--packets") == 0 && i + 1 < argc)
			wanted = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--speed") == 0 && i + 1 < argc)
			speed = strtoull(argv[++i], NULL, 0);
		else
			return printf("hw-equiv: what is %s?\n", argv[i]), 2;
	}
	if (speed != 0 && (speed < 106 || speed > 1450))
		return printf("hw-equiv: --speed wants 106 to 1450 bytes\n"), 2;
	filter = ush_filter_create();
	USH_ASSERT(filter != NULL);
	start(filter, seed);
	began = cpu_seconds();
	if (speed != 0)
		run_speed(filter, wanted, (uint32_t)speed);
	else
		run_equivalence(filter, wanted);
	printf("{\"packets\": %" PRIu64 ", \"mismatches\": %" PRIu64 ", \"packets_per_s\": %.0f, "
	       "\"seed\": %" PRIu64 ", \"clocks\": %" PRIu64 "}\n",
		packets, mismatches, (double)packets / (cpu_seconds() - began), seed,
		ush_filter_clocks(filter));
	ush_filter_destroy(filter);
	free(golden_sets[0]);
	free(golden_sets[1]);
	return mismatches != 0;
}
