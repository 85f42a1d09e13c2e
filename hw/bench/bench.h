/* SPDX-License-Identifier: Apache-2.0 */
// What the benches of single modules share: a clock, chance from a seed, the C code that they
// compare with.
#ifndef USH_BENCH_H
#define USH_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

// SipHash-2-4 of dataplane/base.
uint64_t bench_siphash(uint64_t k0, uint64_t k1, const uint64_t *words, size_t word_count);

// charge() of dataplane/admit/golden.c over a table of its own; `table` is one of two.
void bench_table_clear(uint32_t table, uint32_t set_bits);
uint64_t bench_charge(uint32_t table, uint64_t interval_ns, uint64_t tolerance_ns, uint64_t hash,
	uint32_t request_id, uint64_t now_ns);
// Until when the way's bucket is not full, its tag, and how many were evicted up to now.
uint64_t bench_until(uint32_t table, uint64_t set, uint32_t way);
uint64_t bench_tag(uint32_t table, uint64_t set, uint32_t way);
uint64_t bench_evicted(uint32_t table);

#ifdef __cplusplus
}

#include <memory>
#include <verilated.h>
#if VM_COVERAGE
#include <verilated_cov.h>
#endif

struct Random {
	uint64_t state;
	explicit Random(uint64_t seed) : state(seed * 2 + 1) {}
	uint64_t next()
	{
		// splitmix64 (Steele and others, 2014).
		uint64_t z = state += 0x9e3779b97f4a7c15u;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		return z ^ (z >> 31);
	}
	uint64_t below(uint64_t bound) { return next() % bound; }
	bool one_in(uint64_t n) { return below(n) == 0; }
};

#define EXPECT(condition, ...)                                                                     \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                     \
			printf(__VA_ARGS__);                                                       \
			printf("\n");                                                              \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

// A module with a clock. Inputs are set, then tick(): the edge, and outputs after it.
template <class Module> struct Bench {
	std::unique_ptr<VerilatedContext> context{new VerilatedContext};
	std::unique_ptr<Module> top;
	uint64_t clocks = 0;

	Bench()
	{
		context->randReset(2);
		context->randSeed(7);
		top.reset(new Module(context.get()));
	}
	void tick()
	{
		top->clk = 0;
		top->eval();
		top->clk = 1;
		top->eval();
		clocks++;
	}
	void reset()
	{
		top->rst = 1;
		tick();
		tick();
		top->rst = 0;
	}
	// The last thing: what was covered goes to the file that the runner names.
	void end()
	{
		top->final();
#if VM_COVERAGE
		context->coveragep()->write(getenv("USH_COVERAGE"));
#endif
	}
};

// Seed and count from the command line.
struct Options {
	uint64_t seed, count;
	Options(int argc, char **argv, uint64_t count_default)
		: seed(argc > 1 ? strtoull(argv[1], nullptr, 0) : 1),
		  count(argc > 2 ? strtoull(argv[2], nullptr, 0) : count_default)
	{
	}
};
#endif

#endif /* USH_BENCH_H */
