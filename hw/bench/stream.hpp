// SPDX-License-Identifier: Apache-2.0
// Beats of an AXI-Stream for the benches: drawn by chance, put on ports, compared.
#ifndef USH_BENCH_STREAM_H
#define USH_BENCH_STREAM_H

#include <cstring>
#include <deque>
#include <vector>

#include "bench.h"

struct Beat {
	uint32_t data[16];
	uint64_t keep;
	bool last, mark;
	bool operator==(const Beat &b) const
	{
		return memcmp(data, b.data, sizeof(data)) == 0 && keep == b.keep && last == b.last &&
		       mark == b.mark;
	}
};

inline Beat draw_beat(Random &r, bool last, bool mark)
{
	Beat b = {};

	for (uint32_t i = 0; i < 16; i += 2) {
		uint64_t bits = r.next();
		memcpy(b.data + i, &bits, 8);
	}
	b.keep = last ? ~0ull >> r.below(64) : ~0ull;
	b.last = last;
	b.mark = mark;
	return b;
}

template <class Module> void put_beat(Module &top, const Beat &b)
{
	memcpy(top.s_data, b.data, sizeof(b.data));
	top.s_keep = b.keep;
	top.s_last = b.last;
}

template <class Module> Beat get_beat(const Module &top, bool mark)
{
	Beat b = {};

	memcpy(b.data, top.m_data, sizeof(b.data));
	b.keep = top.m_keep;
	b.last = top.m_last;
	b.mark = mark;
	return b;
}

// Chance that keeps its habits for a while: always, never for long, now and then.
struct Habit {
	uint64_t left = 0, of = 1, yes = 1;
	bool draw(Random &r)
	{
		if (left-- == 0) {
			left = 10 + r.below(300);
			of = 1 + r.below(8);
			yes = r.one_in(3) ? of : r.below(of + 1);
		}
		return r.below(of) < yes;
	}
};

#endif /* USH_BENCH_STREAM_H */
