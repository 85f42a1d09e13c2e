// SPDX-License-Identifier: Apache-2.0
// usher_siphash24 against SipHash of dataplane/base: random keys and messages, with gaps and without, in all
// four forms; each result at its clock, and none that nobody asked for.
#include <deque>

#include "bench.h"
#include "Vmodule.h"

int main(int argc, char **argv)
{
	Options options(argc, argv, 20000);
	Random random(options.seed);
	Bench<Vmodule> bench;
	Vmodule &top = *bench.top;
	const uint32_t words = BENCH_WORDS, rounds = 2 * (words + 1) + 4;
	const uint32_t latency = BENCH_HALF ? 2 * rounds : rounds;
	struct Expected {
		bool valid;
		uint64_t tag;
	};
	std::deque<Expected> pipe;
	uint64_t seen = 0, dense = 0;

	top.in_valid = 0;
	bench.reset();
	// Nothing may come out that went in before the end of the reset.
	for (uint32_t i = 0; i < latency; i++)
		pipe.push_back({false, 0});
	for (uint64_t i = 0; i < options.count; i++) {
		uint64_t key[2], message[3];
		// Words of one bit, of all bits and of chance: each position is hit.
		for (auto list : {key, message})
			for (uint32_t w = 0; w < (list == key ? 2 : words); w++)
				list[w] = random.one_in(4) ? 1ull << random.below(64) :
					random.one_in(8)   ? ~0ull :
							     random.next();
		if (dense == 0)
			dense = 1 + random.below(200);
		bool valid = --dense > 40 || random.one_in(3);
		for (uint32_t w = 0; w < 2; w++) {
			top.in_key[2 * w] = (uint32_t)key[w];
			top.in_key[2 * w + 1] = (uint32_t)(key[w] >> 32);
		}
		for (uint32_t w = 0; w < words; w++) {
			top.in_words[2 * w] = (uint32_t)message[w];
			top.in_words[2 * w + 1] = (uint32_t)(message[w] >> 32);
		}
		top.in_valid = valid;
		pipe.push_back({valid, bench_siphash(key[0], key[1], message, words)});
		bench.tick();
		pipe.pop_front();
		EXPECT(top.out_valid == pipe.front().valid, "clock %llu", (unsigned long long)i);
		if (top.out_valid) {
			EXPECT(top.out_tag == pipe.front().tag, "clock %llu: %016llx, not %016llx",
				(unsigned long long)i, (unsigned long long)top.out_tag,
				(unsigned long long)pipe.front().tag);
			seen++;
		}
	}
	// A reset forgets what is inside.
	bench.reset();
	top.in_valid = 0;
	for (uint32_t i = 0; i < 2 * latency; i++) {
		EXPECT(!top.out_valid, "after a reset");
		bench.tick();
	}
	EXPECT(seen > options.count / 2, "%llu", (unsigned long long)seen);
	printf("siphash24: %u words, %s rounds: %llu tags, 0 differ, latency %u\n", words,
		BENCH_HALF ? "half" : "full", (unsigned long long)seen, latency);
	bench.end();
	return 0;
}
