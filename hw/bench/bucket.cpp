// SPDX-License-Identifier: Apache-2.0
// usher_bucket against charge() of the golden function: a few addresses that hit the same sets in
// consecutive clocks, limits at their boundaries, request ids that come again, buckets that are replaced.
// With BENCH_ID 0 it is the table of sources, else that of users.
//
// With a third argument the same packets and answers are written there, for the Icarus bench.
#include <deque>

#include "bench.h"
#include "Vmodule.h"

static constexpr uint32_t LATENCY = 5;
static constexpr uint64_t SECOND = 1000000000;

struct Packet {
	bool valid, charge;
	uint64_t hash, now, interval, tolerance;
	uint32_t id;
};

struct Answer {
	bool valid, refused, repeat, evicted;
};

static Answer judge(const Packet &p)
{
	Answer a = {p.valid, false, false, false};
	uint32_t id = BENCH_ID ? p.id : 0;

	if (!p.valid || !p.charge)
		return a;
	// A repeat: the bucket's id is this one, and is not 0.
	uint64_t set = p.hash & ((1u << BENCH_SET_BITS) - 1);
	for (uint32_t way = 0; way < 4; way++) {
		uint64_t tag = bench_tag(0, set, way);
		if (tag >> 32 == p.hash >> 32) {
			a.repeat = id != 0 && (uint32_t)tag == id;
			break;
		}
	}
	uint64_t evicted = bench_evicted(0);
	a.refused = bench_charge(0, p.interval, p.tolerance, p.hash, id, p.now) != 0;
	a.evicted = bench_evicted(0) != evicted;
	return a;
}

// What the packets look like for a while: how many addresses, in how many sets, and how dense.
struct Mood {
	uint64_t tags, sets, gaps, step, interval, burst;
	explicit Mood(Random &r)
		: tags(1 + r.below(8)), sets(1 + r.below(4)), gaps(r.one_in(2) ? 0 : 1 + r.below(4)),
		  step(r.one_in(3) ? 0 : 1ull << r.below(34)), interval(1 + r.below(1ull << r.below(34))),
		  burst(r.below(12))
	{
	}
};

static Packet draw(Random &r, const Mood &mood, uint64_t &now)
{
	static const uint64_t marks[] = {0, 0xffffffff, 1, 0x80000000};
	Packet p = {};

	if (mood.step != 0 && r.one_in(3))
		now += r.below(mood.step);
	p.valid = mood.gaps == 0 || r.below(mood.gaps + 1) != 0;
	p.charge = !r.one_in(16);
	uint64_t tag = r.below(mood.tags);
	p.hash = (tag < 4 ? marks[tag] : tag * 0x10001) << 32;
	// The bits between set and tag do not count.
	p.hash |= (r.next() & 0xffffffff & ~((1ull << BENCH_SET_BITS) - 1)) | r.below(mood.sets);
	p.id = r.one_in(4) ? 0 : (uint32_t)r.below(4) << 30 | (uint32_t)r.below(2);
	p.now = now;
	p.interval = mood.interval;
	p.tolerance = mood.interval * mood.burst;
	// On the boundary, and one beside it.
	if (r.one_in(4))
		p.tolerance += r.below(3) - 1;
	if (r.one_in(64))
		p.tolerance = ~0ull;
	if (r.one_in(8) && p.valid && p.charge) {
		// So that until - now is exactly the tolerance.
		uint64_t set = p.hash & ((1u << BENCH_SET_BITS) - 1);
		uint64_t until = bench_until(0, set, (uint32_t)r.below(4));
		if (until > now)
			p.tolerance = until - now + r.below(3) - 1;
	}
	return p;
}

static void write(FILE *file, const Packet &p, const Answer &a)
{
	fprintf(file, "%d%d %016llx %08x %016llx %016llx %016llx %d%d%d\n", p.valid, p.charge,
		(unsigned long long)p.hash, p.id, (unsigned long long)p.now,
		(unsigned long long)p.interval, (unsigned long long)p.tolerance, a.refused,
		a.repeat, a.evicted);
}

int main(int argc, char **argv)
{
	Options options(argc, argv, 200000);
	FILE *file = argc > 3 ? fopen(argv[3], "w") : nullptr;
	Random random(options.seed);
	Bench<Vmodule> bench;
	Vmodule &top = *bench.top;
	uint64_t seen[4] = {}, now = 1700000000 * SECOND, until_mood = 0, together = 0;
	std::deque<Answer> pipe(LATENCY, Answer());
	Mood mood(random);
	Packet before = {};

	bench_table_clear(0, BENCH_SET_BITS);
	top.in_valid = 0;
	bench.reset();
	for (uint64_t clocks = 0; !top.ready; clocks++) {
		EXPECT(clocks <= 1u << BENCH_SET_BITS, "not ready");
		EXPECT(!top.out_valid, "while it zeroes");
		bench.tick();
	}
	for (uint64_t i = 0; i < options.count; i++) {
		if (until_mood-- == 0) {
			mood = Mood(random);
			until_mood = 20 + random.below(400);
			now += random.one_in(4) ? 100 * SECOND : 0;
		}
		Packet p = draw(random, mood, now);
		Answer a = judge(p);
		if (file)
			write(file, p, a);
		together += p.valid && before.valid && p.charge && before.charge &&
			    ((p.hash ^ before.hash) & ((1u << BENCH_SET_BITS) - 1)) == 0;
		before = p;
		top.in_valid = p.valid;
		top.in_charge = p.charge;
		top.in_hash = p.hash;
		top.in_id = p.id;
		top.in_now = p.now;
		top.in_interval = p.interval;
		top.in_tolerance = p.tolerance;
		pipe.push_back(a);
		bench.tick();
		pipe.pop_front();
		a = pipe.front();
		EXPECT(top.out_valid == a.valid, "clock %llu", (unsigned long long)i);
		if (!a.valid)
			continue;
		EXPECT(top.out_refused == a.refused && top.out_repeat == a.repeat &&
				top.out_evicted == a.evicted,
			"clock %llu: refused %d %d, repeat %d %d, evicted %d %d",
			(unsigned long long)i, top.out_refused, a.refused, top.out_repeat, a.repeat,
			top.out_evicted, a.evicted);
		seen[a.refused ? 1 : a.repeat ? 2 : 0]++;
		seen[3] += a.evicted;
	}
	EXPECT(seen[0] > 100 && seen[1] > 100 && seen[3] > 100 && together > options.count / 8,
		"%llu let in, %llu refused, %llu evicted", (unsigned long long)seen[0],
		(unsigned long long)seen[1], (unsigned long long)seen[3]);
	EXPECT(!BENCH_ID || seen[2] > 100, "%llu repeats", (unsigned long long)seen[2]);
	printf("bucket: %s: %llu let in, %llu refused, %llu repeats, %llu evicted, %llu times the set of "
	       "the clock before, 0 differ\n",
		BENCH_ID ? "users" : "sources", (unsigned long long)seen[0],
		(unsigned long long)seen[1], (unsigned long long)seen[2],
		(unsigned long long)seen[3], (unsigned long long)together);
	if (file)
		fclose(file);
	bench.end();
	return 0;
}
