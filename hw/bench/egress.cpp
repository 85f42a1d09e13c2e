// SPDX-License-Identifier: Apache-2.0
// usher_egress against a list of frames: verdicts early and late, as many as there are places, gaps, and a
// reader that stops. Frames that pass come out once, whole, marked as their verdict says, in order.
#include "stream.hpp"
#include "Vmodule.h"

static constexpr uint64_t PLACES = 1 << BENCH_FRAMES_LOG2;

struct Frame {
	bool pass, mark;
	uint64_t beats;
};

int main(int argc, char **argv)
{
	Options options(argc, argv, 100000);
	Random r(options.seed);
	Bench<Vmodule> bench;
	Vmodule &top = *bench.top;
	Habit sends, reads, judges;
	std::deque<Frame> judged, waiting; // verdicts that are there; frames that have none yet
	std::deque<Beat> due;
	uint64_t at = 0, seen[2] = {}, out = 0, fullest = 0;
	bool held = false, offered = false;
	Beat held_beat = {}, beat = {};
	auto draw_frame = [&] { return Frame{!r.one_in(3), r.one_in(2), 1 + r.below(r.one_in(3) ? 9 : 2)}; };

	top.s_valid = 0;
	top.v_valid = 0;
	top.m_ready = 0;
	bench.reset();
	for (uint64_t i = 0; i < options.count || !judged.empty() || !due.empty(); i++) {
		bool more = i < options.count;
		EXPECT(i < options.count + 10000, "does not end");
		if (waiting.empty())
			waiting.push_back(draw_frame());
		// A verdict, if there is a place.
		top.v_valid = more && judged.size() < PLACES && judges.draw(r);
		top.v_pass = top.v_valid ? waiting.front().pass : r.one_in(2);
		top.v_mark = top.v_valid ? waiting.front().mark : r.one_in(2);
		top.m_ready = reads.draw(r) || !more;
		// A beat, which is offered until it is taken.
		if (!offered && (sends.draw(r) || !more)) {
			Frame &f = judged.empty() ? waiting.front() : judged.front();
			beat = draw_beat(r, at + 1 == f.beats, f.pass && f.mark);
			offered = true;
		}
		top.s_valid = offered && (more || !judged.empty());
		put_beat(top, beat);
		top.eval();
		EXPECT(!held || (top.m_valid && get_beat(top, top.m_mark) == held_beat), "not stable");
		held = top.m_valid && !top.m_ready;
		held_beat = get_beat(top, top.m_mark);
		if (top.m_valid && top.m_ready) {
			EXPECT(!due.empty() && due.front() == get_beat(top, top.m_mark),
				"clock %llu: another beat", (unsigned long long)i);
			due.pop_front();
			out++;
		}
		EXPECT(!top.s_ready || !judged.empty(), "without a verdict");
		bool taken = top.s_valid && top.s_ready, ends = taken && beat.last;
		EXPECT(judged.empty() || judged.front().pass || top.s_ready, "waits to discard");
		EXPECT(top.passed == (ends && judged.front().pass), "passed");
		EXPECT(top.discarded == (ends && !judged.front().pass), "discarded");
		if (taken) {
			offered = false;
			at++;
			if (judged.front().pass)
				due.push_back(beat);
		}
		if (ends) {
			seen[judged.front().pass]++;
			at = 0;
			judged.pop_front();
		}
		if (top.v_valid) {
			judged.push_back(waiting.front());
			waiting.pop_front();
		}
		fullest = judged.size() > fullest ? judged.size() : fullest;
		bench.tick();
	}
	EXPECT(seen[0] > 100 && seen[1] > 100 && fullest == PLACES, "too few of one");
	printf("egress: %llu frames of %llu beats passed, %llu discarded, up to %llu verdicts; 0 differ\n",
		(unsigned long long)seen[1], (unsigned long long)out, (unsigned long long)seen[0],
		(unsigned long long)fullest);
	bench.end();
	return 0;
}
