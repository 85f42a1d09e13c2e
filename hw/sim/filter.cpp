/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs are set while the clock is low and seen by the rising edge; outputs of the filter come
 * from registers, so what stands there before an edge is what that edge's neighbours see.
 */
#include <cstdlib>
#include <cstring>
#include <new>

#include "Vusher_filter.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

#include "hw/sim/filter.h"

namespace
{

constexpr uint32_t BEAT = 64;

/* xorshift64*: a stream of its own, so that the C side's numbers do not depend on clocks. */
uint64_t next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

} // namespace

struct ush_filter {
	VerilatedContext context;
	Vusher_filter top{&context};
	uint64_t clocks = 0;
	uint64_t unstable = 0;
	uint64_t refused_writes = 0;
	/* Of the last clock: offered and not taken. */
	bool held = false;
	uint8_t held_data[BEAT];
	uint64_t held_keep;
	bool held_last, held_user;
};

namespace
{

void clock_once(ush_filter *f)
{
	f->top.clk = 1;
	f->top.eval();
	f->top.clk = 0;
	f->top.eval();
	f->clocks++;
}

/* Looks at the outgoing beat before the edge. ret: it is taken by this edge. */
bool beat_out(ush_filter *f)
{
	Vusher_filter &t = f->top;

	if (f->held && (!t.m_axis_tvalid || t.m_axis_tkeep != f->held_keep ||
			       t.m_axis_tlast != f->held_last || t.m_axis_tuser != f->held_user ||
			       memcmp(t.m_axis_tdata.data(), f->held_data, BEAT) != 0))
		f->unstable++;
	f->held = t.m_axis_tvalid && !t.m_axis_tready;
	if (f->held) {
		memcpy(f->held_data, t.m_axis_tdata.data(), BEAT);
		f->held_keep = t.m_axis_tkeep;
		f->held_last = t.m_axis_tlast;
		f->held_user = t.m_axis_tuser;
	}
	return t.m_axis_tvalid && t.m_axis_tready;
}

/* A burst on its way. */
struct run {
	ush_filter *f;
	ush_filter_frame *frames;
	uint32_t count;
	uint32_t in, in_at;   /* frame and byte that come in next */
	uint32_t ended;       /* frames whose last beat is in */
	uint32_t judged;      /* frames looked at for verdicts */
	uint32_t out, out_at; /* frame that comes out, bytes of it so far */
	uint32_t waiting;     /* judged frames without a verdict yet, and passed ones not out */
	bool reading;
	uint64_t chance;
	ush_filter_stress stress;
};

void offer(run *r)
{
	Vusher_filter &t = r->f->top;
	const ush_filter_frame *frame = &r->frames[r->in];
	uint32_t left;

	t.s_axis_tvalid = r->in < r->count &&
			  (r->stress.gap == 0 || (next(&r->chance) >> 56) >= r->stress.gap);
	t.m_axis_tready = r->stress.stall == 0 || (next(&r->chance) >> 56) >= r->stress.stall;
	if (!t.s_axis_tvalid) {
		if (r->stress.noise)
			t.s_axis_tlast = next(&r->chance) & 1;
		return;
	}
	left = frame->length - r->in_at;
	if (r->stress.noise && left < BEAT)
		for (uint32_t i = 0; i < BEAT / 4; i++)
			t.s_axis_tdata[i] = (uint32_t)next(&r->chance);
	memcpy(t.s_axis_tdata.data(), frame->data + r->in_at, left < BEAT ? left : BEAT);
	t.s_axis_tkeep = left < BEAT ? (1ull << left) - 1 : ~0ull;
	t.s_axis_tlast = left <= BEAT;
	t.s_axis_tuser =
		t.s_axis_tlast ? frame->error != 0 : r->stress.noise && (next(&r->chance) & 1);
}

void took(run *r)
{
	ush_filter_frame *frame = &r->frames[r->in];

	if (r->in_at == 0)
		frame->first_clock = r->f->clocks;
	r->in_at += BEAT;
	if (r->in_at >= frame->length) {
		frame->last_clock = r->f->clocks;
		r->in++;
		r->in_at = 0;
	}
}

void gave(run *r)
{
	Vusher_filter &t = r->f->top;
	uint64_t keep = t.m_axis_tkeep;
	uint32_t bytes = keep == ~0ull ? BEAT : (uint32_t)__builtin_ctzll(~keep);
	ush_filter_frame *frame;

	while (r->out < r->count && !r->frames[r->out].passed)
		r->out++;
	/* A frame too many is nobody's: it shows as unstable. */
	if (r->out >= r->count) {
		r->f->unstable++;
		return;
	}
	frame = &r->frames[r->out];
	if (r->out_at == 0) {
		frame->out_clock = r->f->clocks;
		frame->mark = t.m_axis_tuser;
	}
	if (frame->out != nullptr &&
		r->out_at + bytes <= ((frame->length + BEAT - 1) / BEAT) * BEAT)
		memcpy(frame->out + r->out_at, t.m_axis_tdata.data(), bytes);
	r->out_at += bytes;
	if (t.m_axis_tlast) {
		frame->out_length = r->out_at;
		r->out_at = 0;
		r->out++;
		r->waiting--;
	}
}

/* After an edge: what the filter says of frames. */
void hear(run *r)
{
	Vusher_filter &t = r->f->top;

	if (t.frame_kept || t.frame_dropped) {
		if (r->ended >= r->count) {
			r->f->unstable++;
		} else {
			r->frames[r->ended++].judged = t.frame_kept;
			r->waiting += t.frame_kept;
		}
	}
	if (t.verdict_valid) {
		ush_filter_frame *frame;
		while (r->judged < r->ended && !r->frames[r->judged].judged)
			r->judged++;
		if (r->judged >= r->ended) {
			r->f->unstable++;
			return;
		}
		frame = &r->frames[r->judged++];
		frame->verdict = t.verdict;
		frame->now_ns = t.verdict_now;
		frame->verdict_clock = r->f->clocks;
		frame->passed = t.verdict == USH_VERDICT_PASS || t.verdict == USH_VERDICT_HOST;
		if (!frame->passed)
			r->waiting--;
	}
}

/* Registers are read while frames go by; nothing of that may show. */
void read_along(run *r)
{
	Vusher_filter &t = r->f->top;

	if (!r->reading && (next(&r->chance) & 7) == 0) {
		t.s_axil_arvalid = 1;
		t.s_axil_araddr = (uint32_t)next(&r->chance) & 0x7fffc;
		r->reading = true;
	}
	t.s_axil_rready = next(&r->chance) & 1;
}

} // namespace

extern "C" {

struct ush_filter *ush_filter_create(void)
{
	ush_filter *f = new (std::nothrow) ush_filter;

	if (f == nullptr)
		return nullptr;
	f->top.rst = 1;
	f->top.m_axis_tready = 1;
	ush_filter_idle(f, 4);
	f->top.rst = 0;
	while ((ush_filter_read(f, USH_FILTER_REGISTER_STATUS) & 1) == 0)
		ush_filter_idle(f, 16);
	return f;
}

void ush_filter_destroy(struct ush_filter *filter)
{
	if (filter == nullptr)
		return;
	filter->top.final();
#if VM_COVERAGE
	filter->context.coveragep()->write(getenv("USH_COVERAGE"));
#endif
	delete filter;
}

void ush_filter_idle(struct ush_filter *filter, uint32_t clocks)
{
	for (uint32_t i = 0; i < clocks; i++) {
		beat_out(filter);
		clock_once(filter);
	}
}

void ush_filter_write_bytes(struct ush_filter *f, uint32_t at, uint32_t value, uint32_t strobe)
{
	Vusher_filter &t = f->top;

	t.s_axil_awvalid = 1;
	t.s_axil_wvalid = 1;
	t.s_axil_awaddr = at;
	t.s_axil_wdata = value;
	t.s_axil_wstrb = (uint8_t)strobe;
	t.s_axil_bready = 1;
	for (;;) {
		bool taken = t.s_axil_awready && t.s_axil_wready;
		ush_filter_idle(f, 1);
		if (taken)
			break;
	}
	t.s_axil_awvalid = 0;
	t.s_axil_wvalid = 0;
	while (!t.s_axil_bvalid)
		ush_filter_idle(f, 1);
	f->refused_writes += t.s_axil_bresp != 0;
	ush_filter_idle(f, 1);
	t.s_axil_bready = 0;
}

void ush_filter_write(struct ush_filter *filter, uint32_t at, uint32_t value)
{
	ush_filter_write_bytes(filter, at, value, 15);
}

uint32_t ush_filter_read(struct ush_filter *f, uint32_t at)
{
	Vusher_filter &t = f->top;
	uint32_t value;

	t.s_axil_arvalid = 1;
	t.s_axil_araddr = at;
	for (;;) {
		bool taken = t.s_axil_arready;
		ush_filter_idle(f, 1);
		if (taken)
			break;
	}
	t.s_axil_arvalid = 0;
	while (!t.s_axil_rvalid)
		ush_filter_idle(f, 1);
	value = t.s_axil_rdata;
	t.s_axil_rready = 1;
	ush_filter_idle(f, 1);
	t.s_axil_rready = 0;
	return value;
}

uint64_t ush_filter_count(struct ush_filter *filter, uint32_t at)
{
	uint64_t low = ush_filter_read(filter, at);

	return (uint64_t)ush_filter_read(filter, at + 4) << 32 | low;
}

uint64_t ush_filter_refused_writes(const struct ush_filter *filter)
{
	return filter->refused_writes;
}

void ush_filter_set_time(struct ush_filter *filter, uint64_t now_ns)
{
	ush_filter_write(filter, USH_FILTER_REGISTER_CLOCK_LOW, (uint32_t)now_ns);
	ush_filter_write(filter, USH_FILTER_REGISTER_CLOCK_HIGH, (uint32_t)(now_ns >> 32));
}

void ush_filter_burst(struct ush_filter *filter, struct ush_filter_frame *frames, uint32_t count,
	const struct ush_filter_stress *stress)
{
	Vusher_filter &t = filter->top;
	run r{};

	r.f = filter;
	r.frames = frames;
	r.count = count;
	if (stress != nullptr)
		r.stress = *stress;
	r.chance = r.stress.seed | 1;
	for (uint32_t i = 0; i < count; i++) {
		frames[i].judged = 0;
		frames[i].verdict = 0;
		frames[i].passed = 0;
		frames[i].mark = 0;
		frames[i].out_length = 0;
	}
	while (r.ended < count || r.waiting != 0) {
		bool into, out_of, asked, answered;
		offer(&r);
		if (r.stress.noise)
			read_along(&r);
		into = t.s_axis_tvalid && t.s_axis_tready;
		out_of = beat_out(filter);
		asked = t.s_axil_arvalid && t.s_axil_arready;
		answered = t.s_axil_rvalid && t.s_axil_rready;
		if (out_of)
			gave(&r);
		if (into)
			took(&r);
		clock_once(filter);
		if (asked)
			t.s_axil_arvalid = 0;
		if (answered)
			r.reading = false;
		hear(&r);
	}
	t.s_axis_tvalid = 0;
	t.m_axis_tready = 1;
	t.s_axil_rready = r.reading;
	while (r.reading) {
		bool asked = t.s_axil_arvalid && t.s_axil_arready;
		bool answered = t.s_axil_rvalid;
		ush_filter_idle(filter, 1);
		if (asked)
			t.s_axil_arvalid = 0;
		if (answered)
			r.reading = false;
	}
	t.s_axil_rready = 0;
}

uint64_t ush_filter_clocks(const struct ush_filter *filter)
{
	return filter->clocks;
}

uint64_t ush_filter_unstable(const struct ush_filter *filter)
{
	return filter->unstable;
}

} /* extern "C" */
