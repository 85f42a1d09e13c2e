/* SPDX-License-Identifier: Apache-2.0 */
#include "port/worker.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include "port/filter.h"

/* Control messages taken in one round. */
#define MAIL_BURST 16u
/* Idle rounds that spin, and those that yield, before the first sleep: about 20 us each on an idle
 * core. guess: longer than the gaps of a busy peer, shorter than a time slice. */
#define SPIN_ROUNDS 200u
#define YIELD_ROUNDS 400u
/* A sleep: long enough to leave the core to others, short against a disk write. guess */
#define SLEEP_NS 30000
/* After about 0.2 s without work sleeps are longer: 8 % of a core instead of 36 %, for 0.2 ms more
 * before the first packet after a pause is seen. */
#define DEEP_ROUNDS (YIELD_ROUNDS + 2000u)
#define DEEP_SLEEP_NS 250000

/* A spinning thread's time slice. The kernel finishes durable writes in worker threads of its own;
 * one that lands on this core must not wait until a default slice of about 3 ms is used up. 0.1 ms
 * is the least that Linux takes (sched_setattr, fair tasks, 6.12 and later). */
#define SLICE_NS 100000u

static void take_short_slices(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = {.size = sizeof(attributes), .runtime = SLICE_NS};

	/* An older kernel ignores the slice or the call: slower on shared cores, not wrong. */
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

/* A nap: the shortest that lets the kernel's threads run. */
#define NAP_NS 10000

/* Rests as the configuration says. in: hurry: something waits for a disk or a peer. Nobody yields
 * for ever: the kernel may have to finish a write on this very core, and a thread that only ever
 * yields can keep Linux 6.18 from running anything else there for seconds. */
static void rest(enum ush_idle idle, uint32_t rounds, bool hurry)
{
	struct timespec pause = {.tv_nsec = DEEP_SLEEP_NS};

	if (idle == USH_IDLE_SPIN || rounds < SPIN_ROUNDS) {
		rte_pause();
		return;
	}
	if (rounds < YIELD_ROUNDS || (rounds < DEEP_ROUNDS && (hurry || idle == USH_IDLE_YIELD))) {
		sched_yield();
		return;
	}
	if (idle == USH_IDLE_YIELD)
		pause.tv_nsec = NAP_NS;
	else if (hurry || rounds < DEEP_ROUNDS)
		pause.tv_nsec = SLEEP_NS;
	nanosleep(&pause, NULL);
}

static void mail_post(struct ush_worker *worker, const struct ush_packet *packet, uint32_t size)
{
	struct ush_control_message *message = packet->handle;
	int error;

	message->size = size;
	error = rte_ring_sp_enqueue(worker->mailbox.replies, message);
	USH_ASSERT(error == 0);
}

/* Hands on what the turn gave back: messages to the main thread, frames to the port they came by,
 * which need not be the one whose turn it was. */
static void hand_out(struct ush_worker *worker, uint64_t now_ns)
{
	struct ush_loop_out *out = &worker->out;
	uint32_t i = 0, end;

	while (i < out->send_count) {
		struct ush_packet *packet = &out->send[i];
		uint32_t p;

		if (ush_unlikely((packet->flags & USH_PACKET_CONTROL) != 0)) {
			mail_post(worker, packet, packet->size);
			i++;
			continue;
		}
		for (p = 0; p + 1 < worker->port_count; p++)
			if (worker->ports[p].id == packet->port)
				break;
		for (end = i + 1; end < out->send_count; end++)
			if ((out->send[end].flags & USH_PACKET_CONTROL) != 0 ||
				out->send[end].port != packet->port)
				break;
		ush_port_send(worker->queue[p], packet, end - i, now_ns);
		i = end;
	}
	for (i = 0; i < out->free_count; i = end) {
		for (end = i; end < out->free_count; end++)
			if ((out->free[end].flags & USH_PACKET_CONTROL) != 0)
				break;
		ush_port_free(&out->free[i], end - i);
		if (end < out->free_count)
			mail_post(worker, &out->free[end++], 0);
	}
}

static uint32_t turn(struct ush_worker *worker, const struct ush_net *net,
	const struct ush_packet *packets, uint32_t count, uint64_t now_ns)
{
	uint32_t work = ush_loop_turn(worker->loop, net, packets, count, now_ns, &worker->out);

	hand_out(worker, now_ns);
	return work;
}

static uint32_t round_port(
	struct ush_worker *worker, struct ush_port_queue *queue, bool serve, uint64_t now_ns)
{
	struct ush_packet packets[USH_LOOP_BURST];
	uint32_t count = 0, room;

	if (!ush_port_flush(queue, now_ns))
		return 0;
	room = serve || ush_port_holds(queue) ? ush_loop_room(worker->loop) : 0;
	if (room != 0)
		count = ush_port_receive(queue, packets, room);
	if (ush_unlikely(worker->filter != NULL))
		count = ush_port_filter_burst(worker->filter, packets, count, now_ns);
	return turn(worker, &queue->port->net, packets, count, now_ns);
}

static uint32_t round_mail(struct ush_worker *worker, uint64_t now_ns)
{
	struct ush_control_message *messages[MAIL_BURST];
	struct ush_packet packets[MAIL_BURST];
	uint32_t room = ush_loop_room(worker->loop);
	uint32_t count, i;

	if (ush_likely(rte_ring_empty(worker->mailbox.requests)) || room == 0)
		return 0;
	count = rte_ring_sc_dequeue_burst(worker->mailbox.requests, (void **)messages,
		room < MAIL_BURST ? room : MAIL_BURST, NULL);
	for (i = 0; i < count; i++)
		packets[i] = (struct ush_packet){
			.data = messages[i]->data,
			.size = messages[i]->size,
			.capacity = USH_CONTROL_BYTES_MAX,
			.handle = messages[i],
			.attachment = messages[i]->attachment,
			.flags = USH_PACKET_CONTROL |
				 (messages[i]->attachment != NULL ? USH_PACKET_ATTACHED : 0u),
		};
	if (count == 0)
		return 0;
	return turn(worker, &worker->ports[0].net, packets, count, now_ns);
}

uint32_t ush_worker_round(struct ush_worker *worker, uint64_t now_ns)
{
	bool serve = atomic_load_explicit(worker->run, memory_order_relaxed) == USH_RUN_SERVE;
	uint32_t work = 0, p;
	bool had_turn = false;

	for (p = 0; p < worker->port_count; p++) {
		if (worker->queue[p] == NULL)
			continue;
		work += round_port(worker, worker->queue[p], serve, now_ns);
		had_turn = true;
	}
	/* A loop without a queue still expires holds. */
	if (!had_turn)
		work += turn(worker, &worker->ports[0].net, NULL, 0, now_ns);
	work += round_mail(worker, now_ns);
	if (worker->journal != NULL)
		work += ush_journal_step(worker->journal, now_ns);
	return work;
}

/* ret: true if replies, frames or writes are on their way. */
static bool waits(const struct ush_worker *worker)
{
	uint32_t p;

	if (ush_loop_waiting(worker->loop) != 0)
		return true;
	for (p = 0; p < worker->port_count; p++)
		if (worker->queue[p] != NULL &&
			(worker->queue[p]->waiting != 0 || ush_port_holds(worker->queue[p])))
			return true;
	return false;
}

int ush_worker_main(void *argument)
{
	struct ush_worker *worker = argument;

	/* Sleeps end when they should, not up to 50 us later. */
	prctl(PR_SET_TIMERSLACK, 1ul);
	take_short_slices();
	for (;;) {
		int run = atomic_load_explicit(worker->run, memory_order_acquire);
		uint64_t now_ns = ush_clock_now(worker->clock, &worker->view, rte_rdtsc());

		if (ush_unlikely(run == USH_RUN_STOP))
			return 0;
		if (ush_worker_round(worker, now_ns) != 0) {
			worker->idle_turns = 0;
			continue;
		}
		if (ush_unlikely(run == USH_RUN_DRAIN))
			atomic_store_explicit(&worker->drained,
				!waits(worker) && rte_ring_empty(worker->mailbox.requests),
				memory_order_release);
		worker->idle_turns += worker->idle_turns < DEEP_ROUNDS;
		rest(worker->idle, worker->idle_turns,
			waits(worker) ||
				(worker->journal != NULL && !ush_journal_idle(worker->journal)));
	}
}

void *ush_journal_thread_main(void *argument)
{
	struct ush_journal_thread *thread = argument;
	uint32_t idle_rounds = 0;

	prctl(PR_SET_TIMERSLACK, 1ul);
	take_short_slices();
	prctl(PR_SET_NAME, "usher-journal");
	if (thread->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)thread->cpu, &set);
		/* Where it runs is a matter of speed only. */
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	while (!atomic_load_explicit(&thread->stop, memory_order_acquire)) {
		uint64_t now_ns = ush_clock_now(thread->clock, &thread->view, rte_rdtsc());

		if (ush_journal_step(thread->journal, now_ns) != 0) {
			idle_rounds = 0;
			continue;
		}
		idle_rounds += idle_rounds < DEEP_ROUNDS;
		rest(thread->idle, idle_rounds, !ush_journal_idle(thread->journal));
	}
	return NULL;
}
