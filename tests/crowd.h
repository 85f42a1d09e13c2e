/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crowd of clients at an engine with its journal on a fake disk, and an oracle that knows only
 * what left the box: each request with its reply, or that there was none.
 *   - an acknowledged hold is held until its client ends it or its deadline passes;
 *   - an acknowledged sale is sold, an acknowledged release is over;
 *   - no seat is in two holds that are both firm;
 *   - an accepted request, asked again, gets the answer it got.
 *
 * Owns:  the world: engine, journal, disk, clients.
 * Reads: nothing.
 * Never: used for two worlds at a time.
 */
#ifndef USH_CROWD_H
#define USH_CROWD_H

#include "journal/journal.h"
#include "tests/fake_disk.h"
#include "tests/harness.h"
#include "tests/tap.h"

#define EVENTS 3u
#define ROWS 40u
#define SEATS 40u
#define USERS 200u
#define ASKS_MAX 16384u
#define OUTSTANDING_MAX 4000u
/* Turns. */
#define CROWD_PATIENCE 10000
#define CROWD_PACKETS (OUTSTANDING_MAX + USH_LOOP_BURST)

enum outcome {
	/* Waits for its reply. */
	ASKED,
	/* The box died first: it may have happened or not. */
	LOST,
	GRANTED,
	REFUSED,
};

/* What the client asked of its hold. */
enum fate {
	KEPT,
	RELEASE_ASKED,
	CONFIRM_ASKED,
	RELEASED,
	SOLD,
};

/* A RESERVE, and what its client did with the hold since. */
struct ask {
	struct ush_request request;
	struct ush_leg legs[2];
	uint32_t leg_count;
	enum outcome outcome;
	/* Once granted. */
	uint64_t hold;
	uint64_t deadline_ns;
	enum fate fate;
	uint32_t release_id;
	bool waits;
};

struct world {
	struct harness h;
	struct ush_engine_limits limits;
	struct fake_disk *fake;
	struct ush_disk disk;
	struct ush_journal *journal;
	struct ush_random random;
	uint64_t now_ns;
	uint32_t loops;
	struct ask asks[ASKS_MAX];
	uint32_t ask_count;
	uint32_t outstanding;
	/* Requests sent, repeats and those for events too. */
	uint32_t sent;
	/* The disk completes nothing for a while, and many ask meanwhile: several writes under way.
	 */
	bool stalled;
	/* Requests in a burst at most, and stalls are the test's to make; 0: chance decides. */
	uint32_t burst_max;
	uint8_t *free_packets[CROWD_PACKETS];
	uint32_t free_count;
	uint32_t next_id[EVENTS + 1][USERS + 1];
	/* Newest granted ask of each seat, plus 1. */
	uint32_t owner[EVENTS + 1][ROWS][SEATS];
	bool loaded[EVENTS + 1];
	bool load_asked[EVENTS + 1];
	bool clean_asked;
	void *image;
	/* Why the last start failed. */
	struct ush_message why;
	size_t image_bytes;
};

struct sums {
	uint64_t crashes;
	uint64_t crashes_in_start;
	uint64_t granted;
	uint64_t sold;
	uint64_t lost;
	uint64_t repeated;
	uint64_t torn_blocks;
	uint64_t torn_tails;
	uint64_t blocks;
	uint32_t in_flight_max;
};

static struct world w;
static struct sums sums;
/* Where requests stand until they are answered. Not a part of the world: it need not be cleared. */
static uint8_t crowd_packets[CROWD_PACKETS][USH_PAYLOAD_BYTES_MAX];

/* cookie: number of the ask << 8 | what was asked. */
enum what {
	WHAT_RESERVE = 1,
	WHAT_RELEASE,
	WHAT_CONFIRM,
	WHAT_LOAD,
	WHAT_SALE
};

static inline uint64_t crowd_below(uint64_t bound)
{
	return ush_random_below(&w.random, bound);
}

/* ---- the oracle ---- */

static inline bool is_firm(const struct ask *ask)
{
	return ask->outcome == GRANTED &&
	       (ask->fate == SOLD || (ask->fate == KEPT && w.now_ns < ask->deadline_ns));
}

static inline void own_leg(uint32_t number, uint32_t event, uint32_t row, uint64_t mask)
{
	for (uint32_t seat = 0; seat < SEATS; seat++) {
		uint32_t *owner = &w.owner[event][row][seat];
		if ((mask >> seat & 1) == 0)
			continue;
		if (*owner != 0 && *owner != number + 1)
			CHECK(!is_firm(&w.asks[*owner - 1]));
		*owner = number + 1;
	}
}

static inline void on_granted(uint32_t number, const struct ush_reply *reply)
{
	struct ask *ask = &w.asks[number];

	if (ask->outcome == GRANTED) {
		CHECK_EQ(reply->hold, ask->hold);
		sums.repeated++;
		return;
	}
	CHECK(ask->outcome != REFUSED);
	ask->outcome = GRANTED;
	ask->hold = reply->hold;
	ask->deadline_ns = reply->deadline_ns;
	ask->fate = KEPT;
	sums.granted++;
	if (!is_firm(ask))
		return;
	own_leg(number, ask->request.event, ask->request.row, ask->request.mask);
	for (uint32_t i = 0; i < ask->leg_count; i++)
		own_leg(number, ask->request.event, ask->legs[i].row, ask->legs[i].mask);
}

static inline void on_reserve(uint32_t number, const struct ush_reply *reply)
{
	struct ask *ask = &w.asks[number];

	ask->waits = false;
	if (reply->status == USH_STATUS_OK) {
		on_granted(number, reply);
		return;
	}
	/* What was accepted once stays accepted. */
	CHECK(ask->outcome != GRANTED);
	if (reply->status != USH_STATUS_BUSY)
		ask->outcome = REFUSED;
	else if (ask->outcome == ASKED)
		ask->outcome = LOST;
}

/* The answer to a release or a confirm. in: firm: it was a firm hold until now. */
static inline void on_end(struct ask *ask, const struct ush_reply *reply, enum fate done, bool firm)
{
	ask->waits = false;
	if (reply->status == USH_STATUS_OK) {
		CHECK(ask->fate != (done == SOLD ? RELEASED : SOLD));
		sums.sold += done == SOLD && ask->fate != SOLD;
		ask->fate = done;
	} else if (reply->status == USH_STATUS_BUSY) {
		if (firm)
			ask->fate = KEPT;
	} else {
		CHECK(!firm);
		CHECK(ask->fate != done);
	}
}

static inline void on_reply(const struct ush_reply *reply)
{
	uint32_t number = (uint32_t)(reply->cookie >> 8);
	struct ask *ask = &w.asks[number];
	bool firm;

	w.outstanding--;
	switch ((enum what)(reply->cookie & 0xff)) {
	case WHAT_RESERVE:
		on_reserve(number, reply);
		break;
	case WHAT_RELEASE:
	case WHAT_CONFIRM:
		/* Asked once, its deadline not reached: only this request can have ended it. */
		firm = (reply->cookie >> 40 & 1) != 0 && w.now_ns < ask->deadline_ns;
		on_end(ask, reply, (reply->cookie & 0xff) == WHAT_RELEASE ? RELEASED : SOLD, firm);
		break;
	case WHAT_LOAD:
		w.load_asked[reply->event] = false;
		CHECK_EQ(reply->status, USH_STATUS_OK);
		w.loaded[reply->event] = true;
		break;
	case WHAT_SALE:
		w.load_asked[reply->event] = false;
		break;
	}
}

/* Everything that was acknowledged, looked up in the engine just recovered. */
static inline void crowd_check(void)
{
	struct ush_engine_audit audit;
	struct ush_message message;
	struct ush_event_view view;
	int error = ush_engine_audit(w.h.engine, &audit, &message);

	if (error != 0)
		printf("# %s\n", message.text);
	CHECK_EQ(error, 0);
	CHECK_EQ(audit.double_sold, 0);
	for (uint32_t event = 1; event <= EVENTS; event++)
		CHECK(!w.loaded[event] || ush_engine_event_view(w.h.engine, event, &view));
	for (uint32_t i = 0; i < w.ask_count; i++) {
		const struct ask *ask = &w.asks[i];
		uint32_t state;
		if (ask->outcome != GRANTED)
			continue;
		state = ush_engine_hold_state(w.h.engine, ask->hold);
		if (ask->fate == SOLD)
			CHECK_EQ(state, USH_HOLD_STATE_SOLD);
		else if (is_firm(ask))
			CHECK_EQ(state, USH_HOLD_STATE_HELD);
		else if (ask->fate == RELEASED)
			CHECK(state != USH_HOLD_STATE_HELD && state != USH_HOLD_STATE_SOLD);
		else if (ask->fate != CONFIRM_ASKED)
			CHECK(state != USH_HOLD_STATE_SOLD);
	}
}

/* ---- requests ---- */

static inline void free_all_packets(void)
{
	w.outstanding = 0;
	w.free_count = 0;
	for (size_t i = 0; i < CROWD_PACKETS; i++)
		w.free_packets[w.free_count++] = crowd_packets[i];
}

/* Like harness_packet, with room for as many as may wait. */
static inline struct ush_packet packet_of(const struct ush_request *request, const struct ask *ask)
{
	uint8_t *data = w.free_packets[--w.free_count];
	struct ush_extension_header legs = {.type = USH_EXTENSION_LEGS};
	struct ush_request copy = *request;

	copy.magic = USH_REQUEST_MAGIC;
	copy.version = USH_VERSION;
	copy.size = sizeof(copy);
	if (ask != NULL && ask->leg_count != 0) {
		uint32_t bytes = ask->leg_count * (uint32_t)sizeof(struct ush_leg);
		legs.size = (uint16_t)(sizeof(legs) + bytes);
		copy.size = (uint16_t)(copy.size + legs.size);
		copy.extension_count = 1;
		memcpy(data + sizeof(copy), &legs, sizeof(legs));
		memcpy(data + sizeof(copy) + sizeof(legs), ask->legs, bytes);
	}
	memcpy(data, &copy, sizeof(copy));
	w.outstanding++;
	w.sent++;
	return (struct ush_packet){.data = data,
		.size = copy.size,
		.capacity = USH_PAYLOAD_BYTES_MAX,
		.flags = USH_PACKET_CONTROL};
}

/* Some seats of a row, one time in four with up to two further rows. */
static inline struct ush_packet ask_reserve(void)
{
	uint32_t number = w.ask_count++;
	struct ask *ask = &w.asks[number];
	uint32_t event = 1 + (uint32_t)crowd_below(EVENTS), user = 1 + (uint32_t)crowd_below(USERS);
	uint32_t row = (uint32_t)crowd_below(1 + crowd_below(ROWS));

	*ask = (struct ask){.outcome = ASKED, .waits = true};
	ask->request = harness_reserve(event, user, ++w.next_id[event][user], (uint16_t)row,
		(1 + crowd_below(7)) << crowd_below(SEATS - 3));
	ask->request.hold_ms = crowd_below(3) == 0 ? 1000 + (uint32_t)crowd_below(3000) : 0;
	ask->request.cookie = (uint64_t)number << 8 | WHAT_RESERVE;
	if (crowd_below(4) == 0)
		ask->leg_count = 1 + (uint32_t)crowd_below(2);
	for (uint32_t i = 0; i < ask->leg_count; i++)
		ask->legs[i] = (struct ush_leg){.row = (uint16_t)((row + 1 + i) % ROWS),
			.mask = 3ull << crowd_below(SEATS - 1)};
	return packet_of(&ask->request, ask);
}

static inline struct ush_packet ask_end(uint32_t number)
{
	struct ask *ask = &w.asks[number];
	bool confirm = ask->fate == CONFIRM_ASKED || ask->fate == SOLD ||
		       (ask->fate == KEPT && crowd_below(8) == 0);
	uint64_t first = ask->fate == KEPT;
	struct ush_request request = {
		.op = confirm ? USH_OP_CONFIRM : USH_OP_RELEASE,
		.event = ask->request.event,
		.user = ask->request.user,
		.hold = ask->hold,
		.cookie = first << 40 | (uint64_t)number << 8 |
			  (confirm ? WHAT_CONFIRM : WHAT_RELEASE),
	};

	if (!confirm && ask->release_id == 0)
		ask->release_id = ++w.next_id[request.event][request.user];
	if (!confirm)
		request.request_id = ask->release_id;
	if (ask->fate == KEPT)
		ask->fate = confirm ? CONFIRM_ASKED : RELEASE_ASKED;
	ask->waits = true;
	return packet_of(&request, NULL);
}

/* ret: true if the window of request ids still remembers it, with room for what is on its way. */
static inline bool is_recent(const struct ask *ask, uint32_t id)
{
	return w.next_id[ask->request.event][ask->request.user] - id < USH_REQUEST_WINDOW / 2;
}

/* A newer request, or an older one again. */
static inline struct ush_packet ask_something(void)
{
	uint32_t span = w.ask_count < 200 ? w.ask_count : 200;
	uint32_t number = span == 0 ? 0 : w.ask_count - 1 - (uint32_t)crowd_below(span);
	struct ask *ask = &w.asks[number];

	if (span == 0 || crowd_below(2) == 0 || ask->waits)
		return ask_reserve();
	if (ask->outcome == LOST || (ask->outcome == GRANTED && crowd_below(4) == 0)) {
		if (!is_recent(ask, ask->request.request_id))
			return ask_reserve();
		ask->waits = true;
		return packet_of(&ask->request, ask);
	}
	if (ask->outcome != GRANTED || (ask->release_id != 0 && !is_recent(ask, ask->release_id)))
		return ask_reserve();
	return ask_end(number);
}

/* Loads the events that are missing, or puts them on sale. ret: packets. */
static inline uint32_t ask_events(struct ush_packet *packets)
{
	uint32_t count = 0;

	for (uint32_t id = 1; id <= EVENTS; id++) {
		struct ush_request request = {.event = id, .op = USH_OP_EVENT_LOAD};
		struct ush_event_view view;
		struct ush_event *event = NULL;
		struct ush_message message;
		bool there = ush_engine_event_view(w.h.engine, id, &view);

		if (w.load_asked[id] || (there && view.status != USH_EVENT_STATUS_DRAFT))
			continue;
		request.cookie = there ? WHAT_SALE : WHAT_LOAD;
		if (there) {
			request.op = USH_OP_EVENT_STATUS;
			request.arg = USH_EVENT_STATUS_ON_SALE;
		} else {
			USH_ASSERT(ush_engine_event_build(w.h.engine, id, w.image, w.image_bytes,
					   &event, &message) == 0);
		}
		w.load_asked[id] = true;
		packets[count] = packet_of(&request, NULL);
		if (!there) {
			packets[count].attachment = event;
			packets[count].flags |= USH_PACKET_ATTACHED;
		}
		count++;
	}
	return count;
}

/* ---- running ---- */

static inline void crowd_turn(uint32_t loop, bool serve)
{
	struct ush_packet packets[USH_LOOP_BURST];
	uint32_t count = 0, want;

	if (serve && loop == 0)
		count = ask_events(packets);
	want = w.stalled ? 56 : (uint32_t)crowd_below(crowd_below(8) == 0 ? 40 : 6);
	if (w.burst_max != 0 && !w.stalled)
		want = (uint32_t)crowd_below(w.burst_max + 1u);
	while (serve && count < want && w.outstanding < OUTSTANDING_MAX && w.ask_count < ASKS_MAX)
		packets[count++] = ask_something();
	w.h.now_ns = w.now_ns;
	harness_turn(&w.h, loop, packets, count);
	CHECK_EQ(w.h.drop_count, 0);
	for (uint32_t i = 0; i < w.h.reply_count; i++)
		on_reply(&w.h.replies[i]);
	for (uint32_t i = 0; i < w.h.out.send_count; i++)
		w.free_packets[w.free_count++] = w.h.out.send[i].data;
}

static inline void crowd_serve(uint32_t turns)
{
	while (turns-- != 0 && !fake_disk_is_cut(w.fake)) {
		if (w.burst_max == 0 && (w.stalled ? crowd_below(40) == 0 : crowd_below(60) == 0)) {
			w.stalled = !w.stalled;
			fake_disk_order(w.fake, w.stalled ? FAKE_BY_HAND : FAKE_ANY_ORDER);
		}
		w.now_ns += crowd_below(20) == 0 ? crowd_below(2 * HARNESS_SECOND)
						 : crowd_below(10000000);
		for (uint32_t loop = 0; loop < w.loops; loop++)
			crowd_turn(loop, true);
		for (uint64_t n = crowd_below(3) * (w.burst_max != 0 ? 4 : 1); n > 0; n--)
			ush_journal_step(w.journal, w.now_ns);
		if (crowd_below(3) == 0)
			ush_journal_housekeep(w.journal);
		if (fake_disk_pending(w.fake) > sums.in_flight_max)
			sums.in_flight_max = fake_disk_pending(w.fake);
	}
}

static inline int apply(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	(void)context;
	return ush_engine_apply(w.h.engine, records, count, message);
}

static inline int find_image(void *context, uint32_t event_id, uint64_t digest, const void **image,
	size_t *image_bytes, struct ush_message *message)
{
	(void)context, (void)event_id, (void)digest, (void)message;
	*image = w.image;
	*image_bytes = w.image_bytes;
	return 0;
}

/* One start of the box. ret: 0, or an error, with w.why. */
static inline int crowd_start(void)
{
	struct ush_journal_config config = {.directory = "/fake",
		.segment_bytes = 1u << 20,
		.spare_count = 1 + (uint32_t)crowd_below(2),
		.depth = 1 + (uint32_t)crowd_below(8),
		.write_bytes_max = USH_BLOCK_BYTES << crowd_below(8),
		.write_ns_max = 1ull << 62};
	struct ush_engine_resume resume;
	struct ush_journal_report report;
	struct ush_message message = {{0}};
	int error;

	harness_open_for_replay(&w.h, &w.limits);
	ush_engine_set_image_find(w.h.engine, find_image, NULL);
	error = ush_journal_open(&w.journal, &config, &w.disk, w.now_ns, &message);
	if (error == 0)
		error = ush_journal_recover(w.journal, apply, NULL, &report, &message);
	if (error == 0) {
		ush_engine_replayed(w.h.engine, w.now_ns, &resume);
		CHECK(!w.clean_asked || report.clean);
		crowd_check();
		sums.torn_blocks += report.torn_blocks;
		sums.torn_tails += report.torn_blocks != 0;
		sums.blocks += report.blocks;
		error = ush_journal_start(
			w.journal, ush_engine_log(w.h.engine), w.now_ns, &message);
	}
	if (error == 0) {
		if (resume.live_holds != 0 && w.now_ns > resume.time_ns)
			ush_loop_resume(ush_engine_loop(w.h.engine, 0), w.now_ns - resume.time_ns,
				w.now_ns);
		return 0;
	}
	w.why = message;
	return error;
}

/* The box is gone; the clients that waited know nothing. */
static inline void crowd_stop(void)
{
	struct fake_counts counts;

	fake_disk_counts(w.fake, &counts);
	CHECK_EQ(counts.bad_writes, 0);
	CHECK_EQ(counts.changed_buffers, 0);
	if (w.journal != NULL)
		ush_journal_close(w.journal);
	w.journal = NULL;
	fake_disk_power_cycle(w.fake);
	harness_close(&w.h);
	free_all_packets();
	w.stalled = false;
	memset(w.load_asked, 0, sizeof(w.load_asked));
	for (uint32_t i = 0; i < w.ask_count; i++) {
		struct ask *ask = &w.asks[i];
		if (ask->waits && ask->outcome == ASKED)
			ask->outcome = LOST;
		sums.lost += ask->waits;
		ask->waits = false;
	}
}

/* A new world. */
static inline void crowd_make(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	ush_random_init(&w.random, seed);
	w.fake = fake_disk_make(seed);
	fake_disk_table(w.fake, &w.disk);
	w.now_ns = HARNESS_START;
	free_all_packets();
	w.loops = 1 + (uint32_t)crowd_below(2);
	harness_limits_small(&w.limits);
	w.limits.loop_count = w.loops;
	w.image = harness_image(ROWS, SEATS, 60, &w.image_bytes);
}

static inline void crowd_free(void)
{
	fake_disk_free(w.fake);
	free(w.image);
}

/* Until every request has its answer. ret: false if some have none after a long time. */
static inline bool crowd_settle(void)
{
	w.stalled = false;
	fake_disk_order(w.fake, FAKE_ANY_ORDER);
	for (int turns = 0; w.outstanding != 0 && !fake_disk_is_cut(w.fake); turns++) {
		if (turns == CROWD_PATIENCE)
			return false;
		for (uint32_t loop = 0; loop < w.loops; loop++)
			crowd_turn(loop, false);
		ush_journal_step(w.journal, w.now_ns);
		ush_journal_housekeep(w.journal);
	}
	return true;
}

#endif /* USH_CROWD_H */
