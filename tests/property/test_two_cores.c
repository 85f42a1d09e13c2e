/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two loops of one engine in two threads, for the same few users and seats, and a third thread that
 * plays the journal. Afterwards the log must explain every reply and rebuild the state.
 *
 * Time is a counter that each turn moves on a little, so that expiry meets release and confirm.
 * Privileged operations on an event are asked of one loop only, as the control port does it.
 *
 * Owns:  the engine, the threads, all requests and replies.
 * Reads: USH_SEED, USH_TURNS, USH_ROUNDS.
 * Never: DPDK, files.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "../replay.h"
#include "../tap.h"

#define LOOPS 2u
#define EVENTS 2u
#define ROWS 5u
#define SEATS 6u
#define USERS 6u
#define RECENT 4u
#define ROUNDS 6u
#define TURNS 100000u
#define BURST_MAX 6u
#define PACKETS 512u
/* How far a turn moves time on: about a quarter of a tick. */
#define TURN_NS 270000u

/* A request as it was asked, and what came back. */
struct asked {
	struct ush_request request;
	struct ush_reply reply;
	uint32_t leg_count;
	struct ush_leg legs[2];
	/* As RESERVE_BEST was answered. */
	struct ush_leg seats[USH_LEG_COUNT_MAX];
	bool open;
	bool dropped;
};

struct core {
	struct ush_random random;
	uint32_t index;
	pthread_t thread;
	struct asked *asked;
	uint32_t asked_count;
	uint32_t open_count;
	uint8_t packets[PACKETS][256];
	struct ush_loop_out out;
	const char *fault;
};

static struct harness harness, replayed;
static struct replay replay;
static struct core cores[LOOPS];
static uint32_t turns;
static _Atomic uint64_t clock_ns;
static _Atomic uint32_t cores_running;
static _Atomic uint32_t next_id[EVENTS + 1][USERS + 1];
static _Atomic uint64_t recent[EVENTS + 1][USERS + 1][RECENT];

static uint32_t below(struct core *core, uint32_t bound)
{
	return (uint32_t)ush_random_below(&core->random, bound);
}

/* ---- requests ---- */

/* The RESERVE of an id is a function of the id, so that either core can repeat the other's. */
static void reserve_of(struct asked *a, uint32_t event, uint64_t user, uint32_t id)
{
	struct ush_random random;

	ush_random_init(&random, user << 40 | (uint64_t)event << 32 | id);
	a->request = (struct ush_request){
		.op = USH_OP_RESERVE, .event = event, .user = user, .request_id = id};
	a->request.row = (uint16_t)ush_random_below(&random, ROWS);
	a->request.mask = 1 + ush_random_below(&random, (1u << SEATS) - 1);
	a->request.mask &= 1 + ush_random_below(&random, (1u << SEATS) - 1);
	if (a->request.mask == 0)
		a->request.mask = 1;
	a->request.hold_ms = 10 + (uint32_t)ush_random_below(&random, 15);
	a->leg_count = 1 + (uint32_t)ush_random_below(&random, 3);
	for (uint32_t i = 1; i < a->leg_count; i++)
		a->legs[i - 1] =
			(struct ush_leg){.row = (uint16_t)((a->request.row + i * 2) % ROWS),
				.mask = 1ull << ush_random_below(&random, SEATS)};
	if (ush_random_below(&random, 3) != 0)
		return;
	/* The reply says how many legs. */
	a->request.op = USH_OP_RESERVE_BEST;
	a->request.row = 0;
	a->request.mask = 0;
	a->request.arg = 1 + ush_random_below(&random, 5);
	a->leg_count = 0;
}

static void choose_reserve(struct core *core, struct asked *a, uint32_t event, uint64_t user)
{
	uint32_t id, back;

	if (below(core, 3) != 0) {
		id = atomic_fetch_add_explicit(&next_id[event][user], 1, memory_order_relaxed) + 1;
	} else {
		/* Again, most often what the other core is about to decide. */
		id = atomic_load_explicit(&next_id[event][user], memory_order_relaxed);
		back = below(core, 2) == 0 ? 0 : below(core, 66);
		id = id > back ? id - back : 1;
	}
	reserve_of(a, event, user, id);
}

static void choose(struct core *core, struct asked *a)
{
	uint32_t event = 1 + below(core, EVENTS), pick = below(core, 100);
	uint64_t user = 1 + below(core, USERS);
	bool privileged = event % LOOPS == core->index;
	struct ush_request *r = &a->request;

	*a = (struct asked){.leg_count = 0};
	r->event = event;
	if (pick < 50) {
		choose_reserve(core, a, event, user);
		return;
	}
	if (pick < 85) {
		r->user = user;
		r->hold = atomic_load_explicit(
			&recent[event][user][below(core, RECENT)], memory_order_relaxed);
		r->op = USH_OP_QUERY_HOLD;
		if (pick < 75) {
			r->op = USH_OP_RELEASE;
			r->request_id = atomic_fetch_add_explicit(
						&next_id[event][user], 1, memory_order_relaxed) +
					1;
		} else if (privileged && below(core, 300) == 0) {
			r->op = USH_OP_CONFIRM;
		}
	} else if (pick < 92 && privileged) {
		r->op = below(core, 3) == 0 ? USH_OP_BLOCK : USH_OP_UNBLOCK;
		r->row = (uint16_t)below(core, ROWS);
		r->mask = 1ull << below(core, SEATS);
	} else {
		r->op = pick < 96 ? USH_OP_QUERY_SECTION : USH_OP_STATUS;
	}
}

static struct ush_packet packet_of(struct core *core, uint32_t at)
{
	struct asked *a = &core->asked[at];
	uint8_t *data = core->packets[at % PACKETS];
	struct ush_request *r = &a->request;
	uint32_t size = sizeof(*r);

	r->magic = USH_REQUEST_MAGIC;
	r->version = USH_VERSION;
	r->cookie = at;
	if (a->leg_count > 1) {
		struct ush_extension_header header = {.type = USH_EXTENSION_LEGS,
			.size = (uint16_t)(8 + (a->leg_count - 1) * sizeof(struct ush_leg)),
			.value = a->leg_count - 1};
		memcpy(data + size, &header, sizeof(header));
		memcpy(data + size + 8, a->legs, header.size - 8u);
		size += header.size;
		r->extension_count = 1;
	}
	r->size = (uint16_t)size;
	memcpy(data, r, sizeof(*r));
	a->open = true;
	return (struct ush_packet){.data = data,
		.size = size,
		.capacity = sizeof(core->packets[0]),
		.handle = a,
		.flags = USH_PACKET_CONTROL};
}

/* ---- the cores ---- */

static void take_reply(struct core *core, const struct ush_packet *packet, uint64_t durable)
{
	struct asked *a = packet->handle;
	struct ush_reply *y = &a->reply;

	memcpy(y, packet->data, sizeof(*y));
	if (!a->open || y->cookie != a->request.cookie || y->op != a->request.op)
		core->fault = "a reply to nothing";
	if (y->sequence >= durable)
		core->fault = "a reply before its sequence was durable";
	a->open = false;
	core->open_count--;
	if (y->op == USH_OP_RESERVE_BEST && y->extension_count == 1) {
		a->leg_count = (y->size - 72u) / sizeof(struct ush_leg);
		memcpy(a->seats, packet->data + 72, y->size - 72u);
	}
	if ((y->op == USH_OP_RESERVE || y->op == USH_OP_RESERVE_BEST) && y->status == USH_STATUS_OK)
		atomic_store_explicit(&recent[y->event][a->request.user][below(core, RECENT)],
			y->hold, memory_order_relaxed);
}

static void core_turn(struct core *core, uint32_t count)
{
	struct ush_loop *loop = ush_engine_loop(harness.engine, core->index);
	uint64_t now = atomic_fetch_add_explicit(&clock_ns, TURN_NS, memory_order_relaxed);
	struct ush_packet packets[BURST_MAX];
	uint64_t durable;

	for (uint32_t i = 0; i < count; i++) {
		choose(core, &core->asked[core->asked_count]);
		packets[i] = packet_of(core, core->asked_count++);
	}
	core->open_count += count;
	ush_loop_turn(loop, &harness.net, packets, count, now, &core->out);
	durable = ush_log_durable(ush_engine_log(harness.engine));
	for (uint32_t i = 0; i < core->out.send_count; i++)
		take_reply(core, &core->out.send[i], durable);
	for (uint32_t i = 0; i < core->out.free_count; i++) {
		struct asked *a = core->out.free[i].handle;
		a->open = false;
		a->dropped = true;
		core->open_count--;
	}
}

static void *core_main(void *context)
{
	struct core *core = context;
	uint32_t oldest = 0;

	for (uint32_t turn = 0; turn < turns && core->fault == NULL; turn++) {
		uint32_t count = 1 + below(core, BURST_MAX);

		/* A packet's memory is used again when its reply has come. */
		while (oldest < core->asked_count && !core->asked[oldest].open)
			oldest++;
		if (core->asked_count - oldest + count > PACKETS) {
			count = 0;
			sched_yield();
		}
		core_turn(core, count);
	}
	while (core->open_count != 0 && core->fault == NULL) {
		sched_yield();
		core_turn(core, 0);
	}
	atomic_fetch_sub_explicit(&cores_running, 1, memory_order_release);
	return NULL;
}

/* Seals, waits for every slot, calls it durable: what the writer does, without a disk. */
static void journal_step(struct ush_log *log)
{
	uint64_t reserved = ush_log_reserved(log), end;

	end = (reserved + USH_BLOCK_SLOTS - 1) & ~(uint64_t)(USH_BLOCK_SLOTS - 1);
	while (reserved != end) {
		if (atomic_compare_exchange_strong_explicit(&log->reserved, &reserved, end,
			    memory_order_acq_rel, memory_order_acquire)) {
			ush_log_publish_pads(log, reserved, end);
			break;
		}
		end = (reserved + USH_BLOCK_SLOTS - 1) & ~(uint64_t)(USH_BLOCK_SLOTS - 1);
	}
	for (uint64_t at = ush_log_durable(log); at < end; at++) {
		while (!ush_log_is_header(at) && !ush_log_is_published(log, at))
			sched_yield();
	}
	/* Collected before the ring may come round: loops reuse what is durable. */
	replay_collect_to(&replay, log, end);
	atomic_store_explicit(&log->durable, end, memory_order_release);
}

static void *journal_main(void *context)
{
	struct ush_log *log = ush_engine_log(harness.engine);
	struct ush_random random;
	bool last = false;

	(void)context;
	ush_random_init(&random, 99);
	while (!last) {
		last = atomic_load_explicit(&cores_running, memory_order_acquire) == 0;
		journal_step(log);
		for (uint64_t i = ush_random_below(&random, 4); i > 0; i--)
			sched_yield();
	}
	return NULL;
}

/* ---- afterwards ---- */

static const struct ush_record *record_at(uint64_t sequence)
{
	size_t low = 0, high = replay.count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (replay.records[mid].sequence < sequence)
			low = mid + 1;
		else
			high = mid;
	}
	return low < replay.count && replay.records[low].sequence == sequence ? &replay.records[low]
									      : NULL;
}

static uint8_t record_type_of(const struct asked *a)
{
	if (a->reply.status == USH_STATUS_EXPIRED)
		return USH_RECORD_TYPE_EXPIRE;
	if (a->reply.status != USH_STATUS_OK)
		return 0;
	switch (a->request.op) {
	case USH_OP_RESERVE:
	case USH_OP_RESERVE_BEST:
		return USH_RECORD_TYPE_HOLD;
	case USH_OP_RELEASE:
		return USH_RECORD_TYPE_RELEASE;
	case USH_OP_CONFIRM:
		return USH_RECORD_TYPE_CONFIRM;
	default:
		return 0;
	}
}

/* What a reply tells was done is in the log at the sequence it names. */
static bool reply_is_logged(const struct asked *a)
{
	uint8_t type = record_type_of(a);
	const struct ush_record *record, *first;

	/* A remembered EXPIRED names no record. */
	if (type == 0 || (type == USH_RECORD_TYPE_EXPIRE && a->reply.sequence == 0))
		return true;
	record = record_at(a->reply.sequence);
	if (record == NULL || record->type != type || record->user != a->request.user ||
		record->event != a->request.event)
		return false;
	first = record - record->run_index;
	if (a->request.op == USH_OP_RESERVE_BEST) {
		uint32_t seats = 0;

		/* Seats are named unless the hold is over. */
		for (uint32_t i = 0; i < a->leg_count; i++) {
			if (a->seats[i].row != first[i].row || a->seats[i].mask != first[i].mask)
				return false;
		}
		for (uint32_t i = 0; i < first->run_count; i++)
			seats += ush_popcount64(first[i].mask);
		return first->hold == a->reply.hold && seats == a->request.arg &&
		       first->request_id == a->request.request_id &&
		       (a->leg_count == record->run_count ||
			       (a->leg_count == 0 && a->reply.detail == 1));
	}
	if (type == USH_RECORD_TYPE_HOLD)
		return first->hold == a->reply.hold && record->run_count == a->leg_count &&
		       first->request_id == a->request.request_id;
	return first->hold == a->request.hold;
}

/* Plays the grants and ends told by replies in the order of their sequences; what the log ended by
 * the clock, nobody was told. ret: seats granted while another had them. */
static uint32_t overlapping_grants(const bool *told)
{
	static uint64_t owner[EVENTS + 1][ROWS][SEATS];
	uint32_t twice = 0;

	memset(owner, 0, sizeof(owner));
	for (size_t i = 0; i < replay.count; i++) {
		const struct ush_record *r = &replay.records[i];
		bool ends = r->type == USH_RECORD_TYPE_RELEASE || r->type == USH_RECORD_TYPE_EXPIRE;

		if (r->type == USH_RECORD_TYPE_HOLD && told[i]) {
			uint64_t hold = (r - r->run_index)->hold;
			for (uint32_t s = 0; s < SEATS; s++) {
				uint64_t *seat = &owner[r->event][r->row][s];
				if ((r->mask >> s & 1) == 0)
					continue;
				twice += *seat != 0;
				*seat = hold;
			}
		} else if (ends) {
			uint64_t *seat = &owner[r->event][0][0];
			for (uint32_t s = 0; s < ROWS * SEATS; s++)
				seat[s] = seat[s] == r->hold ? 0 : seat[s];
		}
	}
	return twice;
}

static void check_replies(void)
{
	bool *told = calloc(replay.count + 1, sizeof(*told));
	uint32_t unlogged = 0, executed_twice = 0, replies = 0;

	USH_ASSERT(told != NULL);
	for (uint32_t c = 0; c < LOOPS; c++) {
		for (uint32_t i = 0; i < cores[c].asked_count; i++) {
			const struct asked *a = &cores[c].asked[i];
			const struct ush_record *record;

			replies += !a->dropped;
			if (a->dropped)
				continue;
			unlogged += !reply_is_logged(a);
			record = record_at(a->reply.sequence);
			if (record_type_of(a) != USH_RECORD_TYPE_HOLD || record == NULL)
				continue;
			/* Told as new once; all other times as a repeat. */
			executed_twice += a->reply.detail == 0 && told[record - replay.records];
			if (a->reply.detail != 0)
				continue;
			for (uint32_t k = 0; k <= record->run_index; k++)
				told[record - replay.records - k] = true;
		}
	}
	printf("# %u requests, %zu records\n", replies, replay.count);
	CHECK_EQ(unlogged, 0);
	CHECK_EQ(executed_twice, 0);
	CHECK_EQ(overlapping_grants(told), 0);
	free(told);
}

static void check_counters(void)
{
	for (uint32_t c = 0; c < LOOPS; c++) {
		struct ush_loop_counters counters;
		uint64_t sum = 0;

		ush_loop_counters_read(ush_engine_loop(harness.engine, c), &counters);
		for (uint32_t k = 0; k < USH_STATUS_COUNT; k++)
			sum += counters.status[k];
		for (uint32_t k = 0; k < USH_DROP_COUNT; k++)
			sum += counters.drop[k];
		printf("# core %u: OK %" PRIu64 " TAKEN %" PRIu64 " TAKEN_NOW %" PRIu64
		       " RETRY %" PRIu64 " BUSY %" PRIu64 " EXPIRED %" PRIu64 " duplicates %" PRIu64
		       " expired %" PRIu64 "\n",
			c, counters.status[USH_STATUS_OK], counters.status[USH_STATUS_TAKEN],
			counters.status[USH_STATUS_TAKEN_NOW], counters.status[USH_STATUS_RETRY],
			counters.status[USH_STATUS_BUSY], counters.status[USH_STATUS_EXPIRED],
			counters.drop[USH_DROP_DUPLICATE_PENDING], counters.expired);
		CHECK_EQ(counters.rx_packets + counters.control_messages, sum);
	}
}

/* Accepted ids that are in the window are answered by the rebuilt engine as they were. */
static void check_windows(void)
{
	static uint32_t top[EVENTS + 1][USERS + 1];
	uint32_t others = 0, asked = 0;

	memset(top, 0, sizeof(top));
	for (size_t i = 0; i < replay.count; i++) {
		const struct ush_record *r = &replay.records[i];
		uint32_t *t =
			r->user <= USERS && r->event <= EVENTS ? &top[r->event][r->user] : NULL;
		if (t != NULL && r->request_id > *t)
			*t = r->request_id;
	}
	for (size_t i = 0; i < replay.count; i++) {
		const struct ush_record *r = &replay.records[i];
		struct asked again;
		struct ush_reply y;

		if (r->type != USH_RECORD_TYPE_HOLD || r->run_index != 0 ||
			r->request_id + USH_REQUEST_WINDOW <= top[r->event][r->user])
			continue;
		asked++;
		reserve_of(&again, r->event, r->user, r->request_id);
		struct {
			struct ush_extension_header header;
			struct ush_leg legs[2];
		} extra = {.header = {.type = USH_EXTENSION_LEGS,
				   .size = (uint16_t)(8 + (again.leg_count - 1) * 16),
				   .value = again.leg_count - 1}};
		memcpy(extra.legs, again.legs, sizeof(extra.legs));
		y = harness_ask_with(&replayed, &again.request, &extra,
			again.leg_count > 1 ? extra.header.size : 0, NULL);
		others += y.status != USH_STATUS_OK || y.detail != 1 || y.hold != r->hold ||
			  y.sequence != r->sequence + r->run_count - 1;
	}
	CHECK(asked != 0);
	CHECK_EQ(others, 0);
}

static uint64_t free_of(struct harness *h, uint32_t event, uint32_t row)
{
	struct ush_request query = {
		.op = USH_OP_QUERY_SECTION, .event = event, .row = (uint16_t)row};
	struct ush_reply reply = harness_ask(h, &query);
	uint64_t mask;

	USH_ASSERT(reply.status == USH_STATUS_OK);
	memcpy(&mask, h->out.send[0].data + USH_REPLY_BYTES + 8, sizeof(mask));
	return mask;
}

static void check_replay(void)
{
	struct ush_message message = {{0}};
	struct ush_engine_audit live, again;

	CHECK_EQ(ush_engine_audit(harness.engine, &live, &message), 0);
	CHECK_EQ(live.double_sold, 0);
	CHECK_EQ(replay_open(&replay, replay.count, &replayed, &harness.limits, harness.now_ns,
			 &message),
		0);
	CHECK_EQ(ush_engine_audit(replayed.engine, &again, &message), 0);
	printf("# %s\n", message.text[0] == 0 ? "no contradiction" : message.text);
	/* Users who were only refused are not in the log. */
	CHECK(again.users <= live.users);
	again.users = live.users;
	CHECK_EQ(memcmp(&live, &again, sizeof(live)), 0);
	for (uint32_t n = 1; n <= EVENTS; n++) {
		for (uint32_t r = 0; r < ROWS; r++)
			CHECK_EQ(free_of(&harness, n, r), free_of(&replayed, n, r));
	}
	for (size_t i = 0; i < replay.count; i++) {
		const struct ush_record *r = &replay.records[i];
		uint32_t a, b;

		if (r->type != USH_RECORD_TYPE_HOLD || r->run_index != 0)
			continue;
		a = ush_engine_hold_state(harness.engine, r->hold);
		b = ush_engine_hold_state(replayed.engine, r->hold);
		/* Ended by the other core, a line waits for its owner's wheel. */
		if (a == USH_HOLD_STATE_RELEASED || a == USH_HOLD_STATE_EXPIRED)
			a = USH_HOLD_STATE_FREE;
		CHECK_EQ(a, b);
	}
}

static void start(uint64_t seed)
{
	struct ush_engine_limits limits;
	size_t bytes;

	memset(cores, 0, sizeof(cores));
	memset(next_id, 0, sizeof(next_id));
	memset(recent, 0, sizeof(recent));

	harness_limits_small(&limits);
	limits.loop_count = LOOPS;
	limits.hold_count = 256;
	limits.log_block_count = 128;
	limits.ack_count = 512;
	harness_open(&harness, &limits);
	replay_init(&replay);
	for (uint32_t n = 1; n <= EVENTS; n++) {
		void *image = harness_image(ROWS, SEATS, 12, &bytes);
		harness_event_of(&harness, n, image, bytes);
		replay_image(&replay, n, image, bytes);
	}
	replay_collect(&replay, ush_engine_log(harness.engine));
	atomic_store(&clock_ns, harness.now_ns);
	atomic_store(&cores_running, LOOPS);
	for (uint32_t c = 0; c < LOOPS; c++) {
		cores[c].index = c;
		ush_random_init(&cores[c].random, seed * LOOPS + c);
		cores[c].asked = calloc((size_t)turns * BURST_MAX + 1, sizeof(struct asked));
		USH_ASSERT(cores[c].asked != NULL);
	}
}

/* Expires what is due by now, so that looking changes nothing more. */
static void settle(void)
{
	harness.now_ns = atomic_load(&clock_ns);
	for (uint32_t i = 0; i < 200; i++)
		harness_turn(&harness, i % LOOPS, NULL, 0);
	harness_make_durable(&harness);
	replay_collect(&replay, ush_engine_log(harness.engine));
}

static void race(uint64_t seed)
{
	pthread_t journal;

	start(seed);
	USH_ASSERT(pthread_create(&journal, NULL, journal_main, NULL) == 0);
	for (uint32_t c = 0; c < LOOPS; c++)
		USH_ASSERT(pthread_create(&cores[c].thread, NULL, core_main, &cores[c]) == 0);
	for (uint32_t c = 0; c < LOOPS; c++)
		pthread_join(cores[c].thread, NULL);
	pthread_join(journal, NULL);
	for (uint32_t c = 0; c < LOOPS; c++) {
		if (cores[c].fault != NULL)
			printf("# core %u: %s\n", c, cores[c].fault);
		CHECK(cores[c].fault == NULL);
	}
	settle();
	check_counters();
	check_replies();
	check_replay();
	check_windows();
	for (uint32_t c = 0; c < LOOPS; c++)
		free(cores[c].asked);
	replay_free(&replay);
	harness_close(&replayed);
	harness_close(&harness);
}

static uint32_t number_from(const char *name, uint32_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? (uint32_t)strtoul(text, NULL, 0) : fallback;
}

/*
 * Goal: two cores sell each seat once, and the log they share is the whole truth. Method: race
 * them; then hold every reply against the log, and a replayed engine against the live one.
 */
static void test_two_cores_race_leaves_one_truth(void)
{
	uint64_t seed = tap_seed(1);
	uint32_t rounds = number_from("USH_ROUNDS", ROUNDS);

	turns = number_from("USH_TURNS", TURNS);
	for (uint32_t i = 0; i < rounds && tap_failures_here == 0; i++)
		race(seed + i);
}

int main(void)
{
	TAP_RUN(test_two_cores_race_leaves_one_truth);
	return tap_end();
}
