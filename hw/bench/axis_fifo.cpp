// SPDX-License-Identifier: Apache-2.0
// usher_axis_fifo against a list of frames: gaps, a reader that stops, frames of one beat and of too many,
// receive errors, enable that goes away. What becomes of each frame is known beforehand, to the clock.
#include "stream.hpp"
#include "Vmodule.h"

static constexpr uint64_t DEPTH = 1 << BENCH_DEPTH_LOG2, BEATS_MAX = BENCH_BEATS_MAX;

int main(int argc, char **argv)
{
	Options options(argc, argv, 100000);
	Random r(options.seed);
	Bench<Vmodule> bench;
	Vmodule &top = *bench.top;
	Habit sends, reads, enables;
	std::deque<Beat> inside;
	std::vector<Beat> frame;
	uint64_t beats = 0, length = 0, room_taken = 0, kept = 0, drops[3] = {}, out = 0;
	bool no_room = false, held = false;
	Beat held_beat = {};

	top.s_valid = 0;
	top.m_ready = 0;
	bench.reset();
	for (uint64_t i = 0; i < options.count; i++) {
		top.enable = enables.draw(r) || !r.one_in(8);
		top.m_ready = reads.draw(r);
		top.s_valid = sends.draw(r);
		if (beats == 0 && top.s_valid)
			length = r.one_in(2) ? 1 + r.below(3) :
				r.one_in(4)  ? BEATS_MAX - 1 + r.below(3) :
					       1 + r.below(BEATS_MAX + 4);
		Beat b = draw_beat(r, beats + 1 == length, false);
		top.s_error = b.last ? r.one_in(6) : r.one_in(2);
		put_beat(top, b);
		// Before the edge: outputs as they are, what leaves now, and what must become of the frame.
		top.eval();
		EXPECT(!held || (top.m_valid && get_beat(top, false) == held_beat), "not stable");
		held = top.m_valid && !top.m_ready;
		held_beat = get_beat(top, false);
		uint64_t used = inside.size() - top.m_valid + room_taken;
		if (top.m_valid && top.m_ready) {
			EXPECT(!inside.empty() && inside.front() == get_beat(top, false),
				"clock %llu: another beat", (unsigned long long)i);
			inside.pop_front();
			out++;
		}
		int what = -1;
		if (top.s_valid) {
			no_room |= used == DEPTH || (beats == 0 && !top.enable);
			beats++;
			frame.push_back(b);
			room_taken += !no_room && beats <= BEATS_MAX;
			if (b.last) {
				what = top.s_error ? 3 : beats > BEATS_MAX ? 2 : no_room ? 1 : 0;
				if (what == 0)
					inside.insert(inside.end(), frame.begin(), frame.end());
				frame.clear();
				beats = room_taken = 0;
				no_room = false;
			}
		}
		bench.tick();
		int says[4] = {top.kept, top.drop_full, top.drop_long, top.drop_error};
		for (int w = 0; w < 4; w++)
			EXPECT(says[w] == (w == what), "clock %llu: %d, not %d", (unsigned long long)i, w,
				what);
		if (what == 0)
			kept++;
		else if (what > 0)
			drops[what - 1]++;
	}
	// All that was kept comes out.
	top.s_valid = 0;
	top.m_ready = 1;
	for (uint64_t i = 0; i < 2 * DEPTH; i++) {
		top.eval();
		if (top.m_valid) {
			EXPECT(!inside.empty() && inside.front() == get_beat(top, false), "at the end");
			inside.pop_front();
			out++;
		}
		bench.tick();
	}
	EXPECT(inside.empty(), "%zu lost", inside.size());
	EXPECT(kept > 100 && drops[0] > 100 && drops[1] > 100 && drops[2] > 100, "too few of one");
	printf("axis_fifo: %llu frames of %llu beats kept, dropped: %llu no room, %llu too long, "
	       "%llu broken; 0 differ\n",
		(unsigned long long)kept, (unsigned long long)out, (unsigned long long)drops[0],
		(unsigned long long)drops[1], (unsigned long long)drops[2]);
	bench.end();
	return 0;
}
