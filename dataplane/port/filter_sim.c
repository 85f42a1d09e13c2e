/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter's configuration follows the gate's: before each burst they are compared, and what
 * differs is written through registers, as a driver would do. Its clock is set to the loop's time.
 *
 * Failure modes: none of its own; what the filter drops is counted by it.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "admit/contract.h"
#include "hw/sim/filter.h"
#include "port/filter.h"
#include "port/port.h"

/* Counters are read at least so often while frames come. */
#define READ_NS 10000000ull
#define FIRST_COUNTERS 10u
#define WORDS (sizeof(struct ush_port_filter_counters) / sizeof(uint64_t))

struct ush_port_filter {
	struct ush_filter *filter;
	const struct ush_engine *engine;
	uint32_t udp_port;
	bool is_configured;
	/* Frames since the counters were read. */
	bool is_dirty;
	uint64_t read_ns;
	uint32_t load_bits;
	/* As the gate has it; and as the registers have it, which are 0 in the beginning. */
	struct ush_admit_config followed, written, next;
	_Atomic uint64_t words[WORDS];
};

static_assert(
	offsetof(struct ush_port_filter_counters, verdict) == FIRST_COUNTERS * sizeof(uint64_t),
	"counters stand in the order of their registers");
static_assert(
	USH_FILTER_REGISTER_USER_EVICTED == USH_FILTER_REGISTER_RECEIVED + 8 * (FIRST_COUNTERS - 1),
	"and registers in a row");

void ush_port_filter_close(struct ush_port_filter *filter)
{
	if (filter == NULL)
		return;
	ush_filter_destroy(filter->filter);
	explicit_bzero(&filter->followed, sizeof(filter->followed));
	explicit_bzero(&filter->written, sizeof(filter->written));
	explicit_bzero(&filter->next, sizeof(filter->next));
	free(filter);
}

/* ret: the checks that may be made without MACs (docs/admission.md, section 10). */
static uint32_t checks_in_front(uint32_t checks)
{
	if ((checks & USH_ADMISSION_CHECK_MAC) == 0)
		return checks;
	/* All clients of a gateway come from one address; who they are is said under the MAC. */
	checks &= ~(uint32_t)USH_ADMISSION_CHECK_SOURCE;
	/* Without a token anybody can name any user. */
	if ((checks & USH_ADMISSION_CHECK_TOKEN) == 0)
		checks &= ~(uint32_t)USH_ADMISSION_CHECK_USER;
	return checks;
}

static void follow(struct ush_port_filter *f)
{
	const struct ush_admit_config *now = ush_engine_admission_config(f->engine);
	struct ush_admission_view view;

	ush_engine_admission_read(f->engine, &view);
	if (now == NULL || (f->is_configured && f->load_bits == view.load_bits &&
				   memcmp(now, &f->followed, sizeof(*now)) == 0))
		return;
	f->next = *now;
	f->next.udp_port = f->udp_port;
	f->next.checks = checks_in_front(now->checks);
	ush_filter_configure(f->filter, &f->next, &f->written, view.load_bits);
	f->followed = *now;
	f->written = f->next;
	f->load_bits = view.load_bits;
	f->is_configured = true;
}

int ush_port_filter_make(struct ush_port_filter **filter, const struct ush_engine *engine,
	uint32_t udp_port, struct ush_message *message)
{
	struct ush_port_filter *f = calloc(1, sizeof(*f));

	if (f != NULL)
		f->filter = ush_filter_create();
	if (f == NULL || f->filter == NULL) {
		free(f);
		ush_message_set(message, "no memory for the simulated filter");
		return -USH_ENOMEM;
	}
	f->engine = engine;
	f->udp_port = udp_port;
	follow(f);
	*filter = f;
	return 0;
}

static void put(struct ush_port_filter *f, size_t at, uint64_t value)
{
	/* Read by other threads, each word for itself. */
	atomic_store_explicit(&f->words[at / sizeof(uint64_t)], value, memory_order_relaxed);
}

static void read_counters(struct ush_port_filter *f, uint64_t now_ns)
{
	for (uint32_t i = 0; i < FIRST_COUNTERS; i++)
		put(f, i * sizeof(uint64_t),
			ush_filter_count(f->filter, USH_FILTER_REGISTER_RECEIVED + 8 * i));
	for (uint32_t v = 0; v < USH_VERDICT_COUNT; v++)
		put(f, offsetof(struct ush_port_filter_counters, verdict[v]),
			ush_filter_count(f->filter, USH_FILTER_REGISTER_VERDICTS + 8 * v));
	put(f, offsetof(struct ush_port_filter_counters, checks),
		ush_filter_read(f->filter, USH_FILTER_REGISTER_CHECKS));
	put(f, offsetof(struct ush_port_filter_counters, load_bits),
		ush_filter_read(f->filter, USH_FILTER_REGISTER_LOAD_BITS));
	put(f, offsetof(struct ush_port_filter_counters, clocks), ush_filter_clocks(f->filter));
	f->is_dirty = false;
	f->read_ns = now_ns;
}

uint32_t ush_port_filter_burst(
	struct ush_port_filter *filter, struct ush_packet *packets, uint32_t count, uint64_t now_ns)
{
	struct ush_filter_frame frames[USH_LOOP_BURST];
	uint32_t left = 0;

	if (count == 0) {
		if (filter->is_dirty)
			read_counters(filter, now_ns);
		return 0;
	}
	follow(filter);
	ush_filter_set_time(filter->filter, now_ns);
	for (uint32_t i = 0; i < count; i++)
		frames[i] = (struct ush_filter_frame){
			.data = packets[i].data,
			.length = packets[i].size,
			.out = packets[i].data,
		};
	ush_filter_burst(filter->filter, frames, count, NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (!frames[i].passed) {
			ush_port_free(&packets[i], 1);
			continue;
		}
		packets[i].size = frames[i].out_length;
		packets[left++] = packets[i];
	}
	filter->is_dirty = true;
	if (now_ns - filter->read_ns >= READ_NS)
		read_counters(filter, now_ns);
	return left;
}

void ush_port_filter_counters_read(
	const struct ush_port_filter *filter, struct ush_port_filter_counters *counters)
{
	uint64_t words[WORDS];

	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&filter->words[i], memory_order_relaxed);
	memcpy(counters, words, sizeof(*counters));
}
