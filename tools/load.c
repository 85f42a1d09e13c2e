/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `usher load`: the loop.
 *
 * Each turn: take the answers; when the last batch has left, send again what timed out, then make
 * what the schedule says is due; send. The schedule does not wait for answers (open loop): when we
 * fall behind, requests leave late and their latency counts from when they were meant to leave.
 *
 * With --pack requests go into a datagram that is being filled, and that into the batch when it is
 * full or its oldest request has waited long enough. Each keeps its own intended moment, and is
 * counted, given up and sent again by itself.
 *
 * When the appliance goes away nothing is special: answers stop, requests time out and are sent
 * again until it is back or --retries are used up.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"
#include "usher.h"

#define TEND_NS (100 * LOAD_NS_PER_MS)

static _Atomic int stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

bool load_stopped(void)
{
	return stop_signal != 0;
}

uint64_t load_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * LOAD_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * LOAD_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- schedule ------------------------------------------------------------------------------ */

/* The distance of two requests in ns with 32 bits of fraction: at 100 M/s and for a day the drift
 * is below 86400 x 10^8 x 2^-32 ns = 2 us. */
static void schedule_init(struct load *load, uint64_t now_ns)
{
	uint64_t rate = load->options.rate;

	load->start_ns = now_ns;
	load->due_ns = now_ns;
	load->second_ns = now_ns;
	if (rate == 0)
		return;
	load->step_ns = LOAD_NS_PER_S / rate;
	load->step_fraction = ((LOAD_NS_PER_S % rate) << 32) / rate;
}

static void schedule_step(struct load *load)
{
	load->due_fraction += load->step_fraction;
	load->due_ns += load->step_ns + (load->due_fraction >> 32);
	load->due_fraction &= UINT32_MAX;
}

static bool issuing(struct load *load, uint64_t now_ns)
{
	const struct load_options *options = &load->options;

	if (load->issue_end_ns != 0)
		return false;
	if (!load->exhausted && !load_stopped() && now_ns - load->start_ns < options->duration_ns &&
		load->stats.asked + load->stats.malformed_sent < options->requests)
		return true;
	load->issue_end_ns = now_ns;
	if (options->rate != 0 && load->due_ns < now_ns && !load->exhausted &&
		load->stats.asked + load->stats.malformed_sent < options->requests)
		load->behind_end_ns = now_ns - load->due_ns;
	return false;
}

/* Makes what is due now. */
static void issue_open(struct load *load, uint64_t now_ns)
{
	const struct load_stats *stats = &load->stats;

	while (load->batch.count + 1 < LOAD_BURST && load->due_ns <= now_ns) {
		if (stats->asked + stats->malformed_sent >= load->options.requests ||
			!load_traffic_next(load, load->due_ns, now_ns))
			break;
		schedule_step(load);
	}
	if (load->due_ns < now_ns)
		load->behind_max_ns = ush_max64(load->behind_max_ns, now_ns - load->due_ns);
}

/* Makes as many as the window allows. */
static void issue_closed(struct load *load, uint64_t now_ns)
{
	const struct load_stats *stats = &load->stats;

	while (load->batch.count + 1 < LOAD_BURST && load->free_count != 0) {
		if (stats->asked + stats->malformed_sent >= load->options.requests ||
			!load_traffic_next(load, now_ns, now_ns))
			break;
	}
}

/* ---- loop ---------------------------------------------------------------------------------- */

static uint32_t take_answers(struct load *load)
{
	struct load_received received[LOAD_BURST];
	uint32_t count = load->transport->receive(load->transport, received);
	uint64_t now_ns;

	if (count == 0)
		return 0;
	now_ns = load_clock_ns();
	for (uint32_t i = 0; i < count; i++) {
		struct load_received message[LOAD_PACK_MAX];
		uint32_t messages = load_pack_cut(&received[i], message);

		for (uint32_t k = 0; k < messages; k++)
			load_track_reply(load, message[k].payload, message[k].bytes, now_ns);
	}
	return count;
}

/*
 * The datagram that is being filled leaves when it has waited long enough, or when nothing can be
 * put into it for now: all is asked, or a closed loop has nothing else under way.
 */
static void end_pack(struct load *load, uint64_t now_ns)
{
	bool alone = load->options.rate == 0 && load->flying.count <= load->pack.count;

	if (load->batch.count < LOAD_BURST &&
		(load->issue_end_ns != 0 || alone || load_pack_until(&load->pack) <= now_ns))
		load_pack_end(&load->pack, &load->batch, now_ns);
}

static void send_batch(struct load *load)
{
	uint32_t left = load->batch.count - load->batch.sent;

	if (left != 0)
		load->batch.sent += load->transport->send(
			load->transport, &load->batch.packet[load->batch.sent], left);
}

/* Nobody answers a file: what was written is done with. */
static void forget_written(struct load *load)
{
	load->flying = (struct load_list){LOAD_NONE, LOAD_NONE, 0};
	load->resting = load->flying;
	for (uint32_t i = 0; i < load->slot_count && load->free_count < load->slot_count; i++) {
		if (load->slots[i].state == LOAD_SLOT_FREE)
			continue;
		load->slots[i].state = LOAD_SLOT_FREE;
		load->free_slots[load->free_count++] = i;
	}
}

/* ret: true when everything is asked and answered or given up. */
static bool drained(struct load *load, uint64_t now_ns)
{
	const struct load_options *options = &load->options;
	uint64_t since_ns = now_ns - load->issue_end_ns;

	if (load_track_count(load) == 0)
		return true;
	/* Asked to stop: what is answered within one timeout counts, the rest is left open. */
	if (load_stopped())
		return since_ns > options->timeout_ns;
	if (since_ns <= options->timeout_ns * (options->retries + 1) + LOAD_NS_PER_S)
		return false;
	/* All the time of all retries has passed, even if they could not be sent. */
	load->stats.lost += load_track_count(load);
	forget_written(load);
	return true;
}

static void idle(struct load *load, uint64_t now_ns)
{
	uint64_t until_ns = LOAD_NS_PER_MS, pack_ns;

	if (load->issue_end_ns == 0 && load->options.rate != 0)
		until_ns = load->due_ns > now_ns ? ush_min64(until_ns, load->due_ns - now_ns) : 0;
	pack_ns = load_pack_until(&load->pack);
	until_ns = pack_ns > now_ns ? ush_min64(until_ns, pack_ns - now_ns) : 0;
	load->transport->wait(load->transport, until_ns);
}

static void run(struct load *load)
{
	uint64_t tended_ns = 0;

	schedule_init(load, load_clock_ns());
	load->wall_offset_ns = wall_ns() - load->start_ns;
	for (;;) {
		uint64_t now_ns;
		uint32_t taken = take_answers(load);

		now_ns = load_clock_ns();
		if (load->batch.sent == load->batch.count) {
			load->batch.sent = load->batch.count = 0;
			load_track_expire(load, now_ns);
			if (issuing(load, now_ns)) {
				if (load->options.rate != 0)
					issue_open(load, now_ns);
				else
					issue_closed(load, now_ns);
			}
			end_pack(load, now_ns);
			if (load->issue_end_ns != 0 && load->batch.count == 0 &&
				drained(load, now_ns))
				break;
		} else if (!issuing(load, now_ns) && drained(load, now_ns)) {
			break;
		}
		send_batch(load);
		if (taken == 0 && load->batch.sent == load->batch.count)
			idle(load, now_ns);
		if (ush_unlikely(now_ns - tended_ns > TEND_NS)) {
			tended_ns = now_ns;
			load->transport->tend(load->transport, now_ns);
			if (now_ns - load->second_ns >= LOAD_NS_PER_S)
				load_report_progress(load, now_ns);
		}
	}
	load->stats.unanswered = load_track_count(load);
}

/* Writes the schedule to a file, as fast as it can be written. */
static void run_mute(struct load *load)
{
	struct load_options *options = &load->options;
	uint64_t last_ns = 0;

	if (options->rate == 0)
		options->rate = 1000000;
	schedule_init(load, 0);
	while (!load_stopped() && !load->exhausted && load->due_ns < options->duration_ns &&
		load->stats.asked + load->stats.malformed_sent < options->requests) {
		load->batch.sent = load->batch.count = 0;
		last_ns = load->due_ns;
		issue_open(load, last_ns);
		/* It left before the next is due. */
		if (load_pack_until(&load->pack) <= load->due_ns)
			load_pack_end(&load->pack, &load->batch, load_pack_until(&load->pack));
		send_batch(load);
		forget_written(load);
	}
	load->batch.sent = load->batch.count = 0;
	load_pack_end(&load->pack, &load->batch, last_ns);
	send_batch(load);
	load->behind_max_ns = 0;
}

/* ---- start and end ------------------------------------------------------------------------- */

static int open_transport(struct load *load, struct ush_message *message)
{
	const struct load_transport_options *options = &load->options.transport;

	if (options->udp != NULL)
		return load_udp_open(&load->transport, options, message);
	if (options->pcap != NULL)
		return load_pcap_open(&load->transport, options, message);
	return load_dpdk_open(&load->transport, options, message);
}

/* Seats that may be asked for together: nothing but sweeps takes them in any shape. */
static uint32_t group_of(const struct load_options *options)
{
	if (options->weight[LOAD_SWEEP] == options->weight_sum)
		return 1;
	return (uint32_t)options->seats_per_request;
}

static int read_venues(struct load *load, struct ush_message *message)
{
	const struct load_options *options = &load->options;

	for (uint32_t i = 0; i < options->venue_count; i++) {
		int error = load_venue_read(
			&load->venue[i], options->venue[i], group_of(options), message);

		if (error != 0)
			return error;
		load->venue_count++;
	}
	return 0;
}

static int ask_venues(struct load *load, struct ush_message *message)
{
	const struct load_options *options = &load->options;

	if (load->venue_count != 0 || options->echo)
		return 0;
	if (options->event_count > LOAD_VENUES_MAX) {
		ush_message_set(message, "more than %u events need --venue", LOAD_VENUES_MAX);
		return -USH_EINVAL;
	}
	for (uint32_t i = 0; i < options->event_count; i++) {
		int error = load_venue_ask(&load->venue[i], load->transport, options->event_id[i],
			group_of(options), options->transport.wait_ns, message);

		if (error != 0)
			return error;
		load->venue_count++;
	}
	return 0;
}

/* A forwarder has no venue: rows of 64 places. */
static int echo_venue(struct load *load, struct ush_message *message)
{
	static uint64_t seats[1024];

	if (load->venue_count != 0)
		return 0;
	memset(seats, 0xff, sizeof(seats));
	load->venue_count = 1;
	return load_venue_make(&load->venue[0], seats, 1024, 1,
		(uint32_t)load->options.seats_per_request, message);
}

static int pack_init(struct load *load, struct ush_message *message)
{
	/* Nothing is sent again before it was sent. */
	uint64_t wait_ns = ush_min64(LOAD_PACK_WAIT_NS, load->options.timeout_ns / 2);
	int error =
		load_pack_init(&load->pack, &load->batch, (uint32_t)load->options.pack, wait_ns);

	if (error != 0)
		ush_message_set(message, "no memory for packets");
	return error;
}

static int load_open(struct load *load, struct ush_message *message)
{
	int error = read_venues(load, message);

	if (error == 0)
		error = open_transport(load, message);
	if (error == 0)
		error = ask_venues(load, message);
	if (error == 0)
		error = echo_venue(load, message);
	if (error == 0)
		error = load_grants_init(load, message);
	if (error == 0)
		error = pack_init(load, message);
	if (error == 0)
		error = load_track_init(load, message);
	if (error == 0)
		error = load_traffic_init(load, message);
	if (error == 0)
		error = load_ack_open(load, message);
	for (uint32_t i = 0; i < LOAD_CLASS_COUNT; i++)
		ush_histogram_init(&load->latency[i]);
	ush_histogram_init(&load->second);
	ush_histogram_init(&load->steady);
	return error;
}

static void load_close(struct load *load)
{
	if (load->transport != NULL)
		load->transport->close(load->transport);
	load_traffic_free(load);
	load_track_free(load);
	load_pack_free(&load->pack);
	load_grants_free(load);
	for (uint32_t i = 0; i < load->venue_count; i++)
		load_venue_free(&load->venue[i]);
}

int cmd_load(int argc, char **argv)
{
	static struct load load;
	const struct sigaction action = {.sa_handler = on_signal};
	struct ush_message message = {.text = ""};
	int status = load_options_parse(&load.options, argc, argv);

	if (status != 0)
		return status > 0 ? USHER_OK : USHER_USAGE;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (load_open(&load, &message) != 0) {
		fprintf(stderr, "usher load: %s\n", message.text);
		load_close(&load);
		return USHER_FAILED;
	}
	if (load.transport->mute)
		run_mute(&load);
	else
		run(&load);
	status = load_report_end(&load, load.transport->mute ? load.due_ns : load_clock_ns());
	if (load_ack_close(&load, &message) != 0) {
		fprintf(stderr, "usher load: %s\n", message.text);
		status = USHER_FAILED;
	}
	load_close(&load);
	return status;
}
