/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path:
 *   1. directories, and the lock that keeps a second usherd out;
 *   2. EAL: cores, memory, devices (no packet is taken yet);
 *   3. the journal: lock, replay into the engine, epoch + 1, RESUME for live holds;
 *   4. ports, loops, journal thread, control port; "ready";
 *   5. serve until a signal;
 *   6. drain: nothing new is taken, withheld replies become durable and leave, at most 5 s;
 *   7. CLOSE in the journal, then everything in reverse.
 * Failure modes: anything before "ready" says what, where and how to mend, and exits 1. A disk that
 * fails later ends the process at once with 3. kill -9 at any moment is a crash like any other: the
 * next start replays.
 */
#include "port/run.h"
#include "admission/admission_file.h"
#include "journal/snapshot.h"
#include "room/merkle.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include "port/diag.h"
#include "port/directory.h"

struct usherd {
	const struct ush_config *config;
	int pid_file;
	/* When a lock was first found taken, 0: never. */
	uint64_t lock_wait_ns;
	struct ush_eal eal;
	struct ush_images images;
	struct ush_disk disk;
	struct ush_journal *journal;
	struct ush_engine *engine;
	struct ush_clock clock;
	struct ush_clock_view view;
	struct rte_mempool *pool;
	struct ush_port ports[USH_PORT_COUNT_MAX];
	uint32_t port_count;
	struct ush_worker workers[USH_LOOP_COUNT_MAX];
	/* admission.mode = hw-sim only; the one loop's. */
	struct ush_port_filter *filter;
	_Atomic int run;
	struct ush_journal_thread journal_thread;
	pthread_t journal_pthread;
	pthread_t housekeeper;
	bool has_journal_thread;
	bool has_housekeeper;
	_Atomic bool housekeeper_stop;
	struct ush_stats stats;
	struct ush_control *control;
	struct ush_control_config control_config;
	uint64_t recovery_ns;
	struct ush_journal_report report;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* A second signal within this time is taken for an echo of the first: timeout(1) and shells send
 * one to the process and one to its group. */
#define SIGNAL_ECHO_NS 200000000ull

/* When the first signal came, 0: none yet. The handler does little else; before serving, one is
 * enough to end. */
static _Atomic uint64_t signal_ns;
static _Atomic bool serving;

static void on_signal(int number)
{
	uint64_t now = monotonic_ns(), first = 0;

	if (!atomic_load(&serving))
		_exit(128 + number);
	if (!atomic_compare_exchange_strong(&signal_ns, &first, now) &&
		now - first >= SIGNAL_ECHO_NS)
		_exit(USH_EXIT_SIGNAL);
}

static uint64_t now_ns(struct usherd *u)
{
	return ush_clock_now(&u->clock, &u->view, rte_rdtsc());
}

/* ---- steps of start() ---- */

/* A usherd that was killed keeps its locks until the kernel has taken its memory apart, which takes
 * tenths of a second; its supervisor may be quicker. in: path: whose lock is taken. ret: true after
 * a short pause: try again; false: too long for one that is dying. */
static bool wait_for_lock(struct usherd *u, const char *path)
{
	const struct timespec pause = {.tv_sec = 0, .tv_nsec = 10000000};
	uint64_t now = monotonic_ns();

	if (u->lock_wait_ns == 0) {
		u->lock_wait_ns = now;
		ush_diag(USH_DIAG_INFO, "lock_wait", USH_TEXT("directory", path),
			USH_TEXT("why", "another usherd has it; waiting 3 s for it to end"));
	}
	if (now - u->lock_wait_ns >= USH_LOCK_NS_MAX)
		return false;
	nanosleep(&pause, NULL);
	return true;
}

static int start_directories(struct usherd *u, struct ush_message *message)
{
	struct rlimit limit;
	int error;

	/* io_uring's and AF_XDP's buffers count as locked memory. */
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &limit);
	}
	error = ush_directory_make(u->config->state_directory, 0700, message);
	if (error == 0)
		error = ush_directory_make(u->config->run_directory, 0755, message);
	if (error != 0)
		return error;
	do {
		u->pid_file = ush_pid_file_take(u->config->run_directory, message);
	} while (u->pid_file == -USH_EBUSY && wait_for_lock(u, u->config->run_directory));
	return u->pid_file < 0 ? u->pid_file
			       : ush_images_open(&u->images, u->config->state_directory, message);
}

/* ---- engine and journal ---- */

static int apply_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	return ush_engine_apply(context, records, count, message);
}

/* Records that are about to be applied. */
static void ahead(void *context, const struct ush_record *records, uint32_t count,
	enum ush_journal_distance distance)
{
	ush_engine_ahead(context, records, count, distance == USH_JOURNAL_NEAR);
}

static int open_journal(struct usherd *u, struct ush_message *message)
{
	const struct ush_config *c = u->config;
	struct ush_journal_config journal = {
		.directory = c->journal_directory,
		.segment_bytes = (uint64_t)c->journal_segment_mb << 20,
		.spare_count = c->journal_spares,
		.recycle = (enum ush_recycle)c->journal_recycle,
		.reuse_max = c->journal_reuse,
		.depth = c->journal_depth,
		.read_ahead = true,
		.write_bytes_max = c->journal_write_kb << 10,
	};
	struct timespec t;
	uint64_t now;
	int error;

	error = ush_directory_make(c->journal_directory, 0700, message);
	if (error == 0)
		error = ush_disk_uring_open(
			&u->disk, c->journal_directory, c->journal_depth, message);
	if (error != 0)
		return error;
	clock_gettime(CLOCK_REALTIME, &t);
	now = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
	do {
		error = ush_journal_open(&u->journal, &journal, &u->disk, now, message);
	} while (error == -USH_EBUSY && wait_for_lock(u, c->journal_directory));
	return error;
}

/* Keys and policies, before the first packet. */
static int start_admission(struct usherd *u, struct ush_message *message)
{
	struct ush_admit_config *config;
	int error;

	if (u->config->admission == USH_ADMISSION_OFF)
		return 0;
	config = malloc(sizeof(*config));
	if (config == NULL) {
		ush_message_set(message, "no memory for the configuration of admission");
		return -USH_ENOMEM;
	}
	error = ush_admission_read(u->config->admission_file, config, message);
	if (error == 0) {
		config->table_key = ush_engine_table_key(ush_journal_key(u->journal));
		ush_engine_admission(u->engine, config);
		ush_diag(USH_DIAG_INFO, "admission",
			USH_U64("keys", ush_admission_key_count(config)),
			USH_U64("checks", config->checks));
	}
	explicit_bzero(config, sizeof(*config));
	free(config);
	return error;
}

static int make_engine(struct usherd *u, struct ush_message *message)
{
	struct ush_engine_limits limits;
	size_t bytes;
	void *memory;

	ush_config_limits(u->config, &limits);
	bytes = ush_engine_bytes(&limits, message);
	if (bytes == 0)
		return -USH_EINVAL;
	memory = ush_memory_map(u->config, bytes, message);
	if (memory == NULL)
		return -USH_ENOMEM;
	u->engine = ush_engine_init(memory, &limits, ush_journal_key(u->journal));
	ush_engine_set_image_find(u->engine, ush_images_find, &u->images);
	ush_engine_set_hash(u->engine, ush_sha256);
	return start_admission(u, message);
}

/* Gives live holds the time back that nobody could use them, once and bounded. */
static void resume(struct usherd *u, const struct ush_engine_resume *found)
{
	uint64_t now = now_ns(u);
	uint64_t credit = now > found->time_ns ? now - found->time_ns : 0;

	if (found->live_holds == 0 || credit == 0)
		return;
	credit = ush_min64(credit, USH_RESUME_NS_MAX);
	ush_loop_resume(ush_engine_loop(u->engine, 0), credit, now);
	ush_diag(USH_DIAG_INFO, "resume", USH_U64("live_holds", found->live_holds),
		USH_U64("credit_ms", credit / 1000000));
}

static int load_state(
	void *state, ush_snapshot_get *get, void *context, struct ush_message *message)
{
	return ush_engine_load(state, get, context, message);
}

/* The newest good snapshot stands for the records before it. */
static int replay(struct usherd *u, struct ush_message *message)
{
	const struct ush_snapshot_state state = {.state = u->engine, .load = load_state};
	struct ush_snapshot *snapshot = NULL;
	struct ush_message skipped;
	int error = ush_snapshot_find(&snapshot, u->journal, &skipped, message);

	if (skipped.text[0] != '\0')
		ush_diag(USH_DIAG_WARN, "snapshot_skipped", USH_TEXT("why", skipped.text),
			USH_TEXT("mend", "an older one, or the journal from its beginning, is "
					 "read instead; remove the file"));
	if (error == 0 && snapshot != NULL)
		error = ush_snapshot_load(snapshot, &state, message);
	ush_journal_show(u->journal, ahead, u->engine);
	if (error == 0)
		error = ush_journal_recover_from(u->journal,
			snapshot != NULL ? ush_snapshot_point(snapshot) : NULL, apply_run,
			u->engine, &u->report, message);
	ush_snapshot_free(snapshot);
	return error;
}

static int start_engine(struct usherd *u, struct ush_message *message)
{
	struct ush_engine_resume found;
	uint64_t begun = monotonic_ns(), behind;
	int error;

	error = open_journal(u, message);
	if (error == 0)
		error = make_engine(u, message);
	if (error == 0)
		error = replay(u, message);
	if (error != 0)
		return error;
	behind = ush_clock_init(&u->clock, rte_get_tsc_hz(), u->report.time_ns);
	if (behind > 1000000000ull)
		ush_diag(USH_DIAG_WARN, "clock_behind_journal", USH_U64("ms", behind / 1000000),
			USH_TEXT("mend", "the clock was set back since the last run; time goes on "
					 "from the journal's newest, so holds last longer than the "
					 "clock shows; set the clock and restart"));
	ush_engine_replayed(u->engine, now_ns(u), &found);
	error = ush_journal_start(u->journal, ush_engine_log(u->engine), now_ns(u), message);
	if (error != 0)
		return error;
	if (found.time_ns < u->report.time_ns)
		found.time_ns = u->report.time_ns;
	resume(u, &found);
	u->recovery_ns = monotonic_ns() - begun;
	return 0;
}

/* ---- ports and loops ---- */

static int start_ports(struct usherd *u, struct ush_message *message)
{
	const struct ush_config *c = u->config;
	bool last_in_first_out = true;
	uint32_t i;
	int error;

	for (i = 0; i < c->port_count; i++) {
		/* net_af_xdp shares the pool's memory with the kernel and receives nothing from a
		 * pool that is not a ring (DPDK 22.11). */
		if (strstr(c->port[i].device, "af_xdp") != NULL)
			last_in_first_out = false;
	}
	u->pool = ush_port_pool_make(u->eal.mbuf_count, last_in_first_out, message);
	if (u->pool == NULL)
		return -USH_ENOMEM;
	for (i = 0; i < c->port_count; i++) {
		error = ush_port_open(&u->ports[i], &c->port[i], &u->eal.device[i], c->loops.count,
			u->pool, message);
		if (error != 0)
			return error;
		u->port_count++;
	}
	for (i = 0; i < u->port_count; i++)
		if (!ush_port_wait_link(&u->ports[i], 5000))
			ush_diag(USH_DIAG_WARN, "no_link", USH_TEXT("port", c->port[i].name),
				USH_TEXT("mend", "check cable and switch; serving as soon as it is "
						 "up"));
	return 0;
}

/* Gives loop `index` a queue of port `p`, if the device has as many. */
static int make_queue(struct usherd *u, uint32_t p, uint32_t index, struct ush_message *message)
{
	struct ush_port *port = &u->ports[p];
	struct ush_port_queue *queue;

	if (index >= port->queue_count)
		return 0;
	queue = aligned_alloc(USH_CACHE_LINE,
		(sizeof(*queue) + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1));
	if (queue == NULL) {
		ush_message_set(message, "no memory for a queue of a port");
		return -USH_ENOMEM;
	}
	memset(queue, 0, sizeof(*queue));
	queue->port = port;
	queue->loop = ush_engine_loop(u->engine, index);
	queue->id = (uint16_t)index;
	queue->patience_ns = port->config->tx_patience_ms * 1000000ull;
	queue->cuts = u->config->admission != USH_ADMISSION_HW_SIM;
	u->workers[index].queue[p] = queue;
	return 0;
}

static int start_loops(struct usherd *u, struct ush_message *message)
{
	const struct ush_config *c = u->config;
	uint32_t i, p;
	int error;

	error = ush_control_mailboxes(u->workers, c->loops.count, message);
	for (i = 0; error == 0 && i < c->loops.count; i++) {
		struct ush_worker *w = &u->workers[i];

		w->loop = ush_engine_loop(u->engine, i);
		w->index = i;
		w->idle = (enum ush_idle)c->idle;
		w->run = &u->run;
		w->clock = &u->clock;
		w->ports = u->ports;
		w->port_count = u->port_count;
		for (p = 0; error == 0 && p < u->port_count; p++)
			error = make_queue(u, p, i, message);
		if (i == 0 && c->journal_place.mode == USH_JOURNAL_INLINE)
			w->journal = u->journal;
		if (error == 0 && c->admission == USH_ADMISSION_HW_SIM) {
			error = ush_port_filter_make(
				&u->filter, u->engine, c->port[0].udp_port, message);
			w->filter = u->filter;
		}
	}
	for (i = 0; error == 0 && i < c->loops.count; i++) {
		if (rte_eal_remote_launch(
			    ush_worker_main, &u->workers[i], USH_EAL_LCORE_FIRST + i) != 0) {
			ush_message_set(message,
				"loop %u: EAL core %u is not there; do raw arguments after -- change "
				"--lcores?",
				i, USH_EAL_LCORE_FIRST + i);
			error = -USH_ESYSTEM;
		}
	}
	return error;
}

/* Makes spare segments and hashes; may block on the disk, so it has a thread of its own. */
static void *housekeeper_main(void *argument)
{
	struct usherd *u = argument;
	const struct timespec pause = {.tv_sec = 0, .tv_nsec = 2000000};
	const char *trouble = NULL;

	prctl(PR_SET_NAME, "usher-keeper");
	/* Behind the loops, but not starved by them: sales end where spare segments do. */
	setpriority(PRIO_PROCESS, 0, 5);
	while (!atomic_load_explicit(&u->housekeeper_stop, memory_order_acquire)) {
		const char *now;

		if (ush_journal_housekeep(u->journal))
			continue;
		now = ush_journal_trouble(u->journal);
		if (now != NULL && trouble == NULL)
			ush_diag(USH_DIAG_ERROR, "journal_trouble", USH_TEXT("text", now));
		else if (now == NULL && trouble != NULL)
			ush_diag(USH_DIAG_INFO, "journal_trouble_over");
		trouble = now;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static int start_threads(struct usherd *u, struct ush_message *message)
{
	const struct ush_config *c = u->config;

	if (c->journal_place.mode == USH_JOURNAL_THREAD) {
		u->journal_thread = (struct ush_journal_thread){
			.journal = u->journal,
			.clock = &u->clock,
			.idle = (enum ush_idle)c->idle,
			.cpu = c->journal_place.cpu,
		};
		u->has_journal_thread = pthread_create(&u->journal_pthread, NULL,
						ush_journal_thread_main, &u->journal_thread) == 0;
	}
	u->has_housekeeper = pthread_create(&u->housekeeper, NULL, housekeeper_main, u) == 0;
	if (u->has_housekeeper &&
		u->has_journal_thread == (c->journal_place.mode == USH_JOURNAL_THREAD))
		return 0;
	ush_message_set(message, "cannot make a thread; is there a limit on processes?");
	return -USH_ENOMEM;
}

static int start_control(struct usherd *u, struct ush_message *message)
{
	const struct ush_config *c = u->config;

	u->stats = (struct ush_stats){
		.engine = u->engine,
		.journal = u->journal,
		.ports = u->ports,
		.port_count = u->port_count,
		.workers = u->workers,
		.loop_count = c->loops.count,
		.filter = u->filter,
		.started_ns = now_ns(u),
	};
	u->control_config = (struct ush_control_config){
		.path = c->control_socket,
		.mode = c->control_mode,
		.uids = &c->control_uids,
		.client_max = c->control_clients,
		.engine = u->engine,
		.workers = u->workers,
		.loop_count = c->loops.count,
		.images = &u->images,
		.stats = &u->stats,
		.admission_file = c->admission == USH_ADMISSION_OFF ? NULL : c->admission_file,
		.table_key = ush_engine_table_key(ush_journal_key(u->journal)),
	};
	return ush_control_open(&u->control, &u->control_config, message);
}

/* ---- serving ---- */

static uint64_t sum_of(const uint64_t *words, size_t count)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/* One line about what happened, if anything did. in/out: *seen: packets and messages last time. */
static void say_stats(struct usherd *u, uint64_t *seen)
{
	struct ush_loop_counters c;

	ush_stats_sum(&u->stats, &c);
	if (c.rx_packets + c.control_messages == *seen)
		return;
	*seen = c.rx_packets + c.control_messages;
	ush_diag(USH_DIAG_INFO, "stats", USH_U64("rx_packets", c.rx_packets),
		USH_U64("control_messages", c.control_messages),
		USH_U64("ok", c.status[USH_STATUS_OK]),
		USH_U64("refused", sum_of(c.status, USH_STATUS_COUNT) - c.status[USH_STATUS_OK]),
		USH_U64("answered", sum_of(c.answer, USH_ANSWER_COUNT)),
		USH_U64("dropped", sum_of(c.drop, USH_DROP_COUNT)), USH_U64("records", c.records),
		USH_U64("expired", c.expired), USH_U64("waiting", c.waiting));
}

static void serve(struct usherd *u)
{
	uint64_t second_ns = monotonic_ns(), stats_ns = second_ns, seen = 0;

	while (atomic_load(&signal_ns) == 0) {
		uint64_t now;

		ush_control_poll(u->control, 100);
		now = monotonic_ns();
		if (ush_engine_rooms(u->engine) != 0)
			ush_engine_rooms_step(u->engine, now_ns(u));
		if (now - second_ns >= 1000000000ull) {
			ush_clock_correct(&u->clock);
			second_ns = now;
		}
		if (now - stats_ns >= 10000000000ull) {
			say_stats(u, &seen);
			stats_ns = now;
		}
	}
}

/* ---- the end ---- */

static bool drained(const struct usherd *u)
{
	uint32_t i;

	for (i = 0; i < u->config->loops.count; i++)
		if (!atomic_load_explicit(&u->workers[i].drained, memory_order_acquire))
			return false;
	return ush_control_outstanding(u->control) == 0;
}

/* Lets withheld replies become durable and leave. */
static void drain(struct usherd *u)
{
	uint64_t begun = monotonic_ns();
	uint32_t waiting = 0, i;

	ush_control_drain(u->control);
	atomic_store_explicit(&u->run, USH_RUN_DRAIN, memory_order_release);
	while (!drained(u) && monotonic_ns() - begun < USH_DRAIN_NS_MAX)
		ush_control_poll(u->control, 1);
	atomic_store_explicit(&u->run, USH_RUN_STOP, memory_order_release);
	rte_eal_mp_wait_lcore();
	for (i = 0; i < u->config->loops.count; i++)
		waiting += ush_loop_waiting(u->workers[i].loop);
	ush_diag(waiting == 0 ? USH_DIAG_INFO : USH_DIAG_WARN, "drained",
		USH_U64("ms", (monotonic_ns() - begun) / 1000000),
		USH_U64("replies_not_sent", waiting));
}

static void stop_threads(struct usherd *u)
{
	if (u->has_journal_thread) {
		atomic_store_explicit(&u->journal_thread.stop, true, memory_order_release);
		pthread_join(u->journal_pthread, NULL);
	}
}

static void stop(struct usherd *u)
{
	uint64_t seen = 0;
	uint32_t i;

	drain(u);
	stop_threads(u);
	/* The keeper still makes the segment that CLOSE may need. */
	if (!ush_journal_finish(u->journal, now_ns(u)))
		ush_diag(USH_DIAG_ERROR, "journal_not_closed",
			USH_TEXT("mend", "the disk is full: replies that were not durable were not "
					 "sent; free space, the next start replays"));
	atomic_store_explicit(&u->housekeeper_stop, true, memory_order_release);
	pthread_join(u->housekeeper, NULL);
	say_stats(u, &seen);
	ush_control_close(u->control);
	for (i = 0; i < u->port_count; i++)
		ush_port_close(&u->ports[i]);
	ush_port_filter_close(u->filter);
	ush_journal_close(u->journal);
	ush_disk_uring_close(&u->disk);
	ush_images_close(&u->images);
	ush_eal_stop(&u->eal, u->config);
	ush_diag(USH_DIAG_INFO, "stopped");
}

/* Everything up to "ready". What was taken when a step fails goes with the process: the journal has
 * written nothing but its new epoch, and sockets are cleared away by the next start. */
static int start(struct usherd *u, int extra_count, char *const *extra, struct ush_message *message)
{
	int error = start_directories(u, message);

	if (error == 0)
		error = ush_eal_start(&u->eal, u->config, extra_count, extra, message);
	if (error == 0)
		error = start_engine(u, message);
	if (error == 0)
		error = start_ports(u, message);
	if (error == 0)
		error = start_loops(u, message);
	if (error == 0)
		error = start_threads(u, message);
	if (error == 0)
		error = start_control(u, message);
	return error;
}

enum ush_exit ush_run(const struct ush_config *config, int extra_count, char *const *extra)
{
	static struct usherd u;
	struct sigaction action = {.sa_handler = on_signal};
	struct ush_message message;

	u.config = config;
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	prctl(PR_SET_TIMERSLACK, 1ul);
	if (start(&u, extra_count, extra, &message) != 0) {
		ush_diag(USH_DIAG_ERROR, "start_failed", USH_TEXT("why", message.text));
		/* Loops may be running; nothing they did is on its way to anybody. */
		_exit(USH_EXIT_START);
	}
	atomic_store(&serving, true);
	ush_diag(USH_DIAG_INFO, "ready", USH_U64("recovery_ms", u.recovery_ns / 1000000),
		USH_U64("from_sequence", u.report.from_sequence),
		USH_U64("records", u.report.records), USH_U64("blocks", u.report.blocks),
		USH_U64("torn_blocks", u.report.torn_blocks),
		USH_U64("epoch", ush_journal_epoch(u.journal)),
		USH_TEXT("clean", u.report.clean ? "yes" : "no"),
		USH_TEXT("hugepages", u.eal.huge ? "yes" : "no"),
		USH_TEXT("journal",
			config->journal_place.mode == USH_JOURNAL_INLINE ? "inline" : "thread"),
		USH_U64("loops", config->loops.count), USH_TEXT("control", config->control_socket));
	serve(&u);
	ush_diag(USH_DIAG_INFO, "stopping");
	stop(&u);
	return USH_EXIT_OK;
}
