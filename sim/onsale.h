/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole on-sale in virtual time: people and bots, and the code that judges, queues, lets in and
 * sells (docs/onsale.md, "The simulation").
 *
 * Owns:  struct onsale: a crowd, a box, what was counted.
 * Reads: the insides of room, gate and loop, to drive them as the loop does.
 * Never: real time, threads, files, floating point that decides anything.
 */
#ifndef USH_ONSALE_H
#define USH_ONSALE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admit/device.h"
#include "loop/internal.h"
#include "room/draw.h"
#include "room/pace.h"
#include "room/room.h"
#include "room/ticket.h"
#include "tests/harness.h"

#define ONSALE_SECOND 1000000000ull
#define ONSALE_TICK_NS (ONSALE_SECOND / 10)
#define ONSALE_TICKS_S 10u
/* The lobby is open for so long; then the sale, at most for so long. */
#define ONSALE_LOBBY_S 1800u
#define ONSALE_SALE_S (3u * 3600u)
#define ONSALE_OPEN (ONSALE_LOBBY_S * ONSALE_TICKS_S)
#define ONSALE_END (ONSALE_OPEN + ONSALE_SALE_S * ONSALE_TICKS_S)
#define ONSALE_EVENT 1u
#define ONSALE_USERS_MAX 20000000u
#define ONSALE_USER_SEATS 4u
#define ONSALE_ROW_SEATS 25u
#define ONSALE_PRICE 9000u
/* Tiers of the lobby that are used. */
#define ONSALE_TIER_VERIFIED 0u
#define ONSALE_TIER_ORDINARY 1u
#define ONSALE_TIER_SLOW 6u
#define ONSALE_NOBODY UINT32_MAX
/* Tries of a proof of work that the gate is shown, and how many each stands for. */
#define ONSALE_WORK_BITS 4u
#define ONSALE_WORK_SHIFT 12u
#define ONSALE_GROUPS (USH_ROOM_TIERS + 1u)
#define ONSALE_SAMPLE_S 10u

#define ONSALE_DEFENCE_EACH(X) \
	X(TOKEN, "token", 1) \
	X(DRAW, "draw", 2) \
	X(VERIFIED, "verified", 4) \
	X(DEVICE, "device", 8) \
	X(RATE, "rate", 16) \
	X(WORK, "work", 32)

enum onsale_defence {
#define X(name, text, bit) ONSALE_##name = (bit),
	ONSALE_DEFENCE_EACH(X)
#undef X
	ONSALE_ALL = 63,
};

/* Who they are, in this order of their numbers. */
#define ONSALE_CLASS_EACH(X) \
	X(FAN, "fan") \
	X(SCRIPT, "script") \
	X(BROKER, "broker") \
	X(CLICKER, "clicker")

enum onsale_class {
#define X(name, text) ONSALE_##name,
	ONSALE_CLASS_EACH(X)
#undef X
	ONSALE_CLASSES,
};

/* What somebody does at the next event. */
enum onsale_state {
	ONSALE_ABSENT,
	ONSALE_JOIN,
	/* No event: waits to be called. */
	ONSALE_WAIT,
	ONSALE_EXCHANGE,
	ONSALE_LOOK,
	ONSALE_PAY,
	ONSALE_PAID,
	ONSALE_GIVE_BACK,
	ONSALE_GONE,
};

struct onsale_person {
	/* The next with an event in the same tick. */
	uint32_t next;
	/* Tier << 28 | index, or ONSALE_NOBODY. */
	uint32_t place;
	/* Tick of joining; then of being called. */
	uint32_t since;
	/* 1: called, or past the queue; 2: exchanged. */
	uint32_t got_in;
	/* Place in the list of visits, plus one. */
	uint32_t visit;
	uint16_t ids;
	uint8_t state;
	uint8_t tries;
};
static_assert(sizeof(struct onsale_person) == 24, "ten million of them");

/* Somebody inside. */
struct onsale_visit {
	uint64_t expiry_ns;
	uint64_t tag;
	uint64_t hold;
	uint64_t amount;
	uint16_t version;
	uint8_t seats;
	uint8_t attempts;
	/* Counted among those who look for seats. */
	bool looks;
	bool asked;
};

/* Ticks in which something happens to somebody. */
struct onsale_wheel {
	uint32_t *first;
	uint32_t *last;
};

struct onsale_crowd {
	uint64_t seed;
	uint32_t count;
	/* First of each class, and the end. */
	uint32_t from[ONSALE_CLASSES + 1];
	/* Invited as verified, per 2^32. */
	uint64_t invited;
	/* Until when the processors of a farm are busy, ns. */
	uint64_t *farm_until_ns;
};

struct onsale_sample {
	uint32_t at_s, free, live, sold, inside, expected, waiting, rate;
};

/* What is counted; all of it is printed. */
#define ONSALE_COUNT_EACH(X) \
	X(joined) \
	X(refused_by_address) \
	X(refused_by_user) \
	X(refused_by_work) \
	X(refused_by_token) \
	X(fans_refused_by_address) \
	X(fans_slow) \
	X(slow) \
	X(forged_sent) \
	X(frames_forged) \
	X(forged_passed) \
	X(called) \
	X(called_late) \
	X(exchanged) \
	X(holds) \
	X(found_nothing) \
	X(looked_only) \
	X(payments_failed) \
	X(holds_abandoned) \
	X(holds_too_late) \
	X(frames) \
	X(decided) \
	X(over_admitted) \
	X(violations)

struct onsale_counts {
#define X(name) uint64_t name;
	ONSALE_COUNT_EACH(X)
#undef X
	uint64_t seats_claimed;
	uint64_t seats[ONSALE_CLASSES];
	uint64_t buyers[ONSALE_CLASSES];
	uint64_t let_in[ONSALE_CLASSES];
};

/* How long people waited until they were called, ticks. */
struct onsale_waits {
	uint32_t *ticks;
	uint32_t count;
	uint32_t room;
};

struct onsale_box {
	struct harness h;
	struct ush_admit_config *config;
	struct ush_room room;
	void *room_memory;
	struct ush_devices devices;
	void *device_memory;
	struct ush_draw draw;
	void *draw_memory;
	bool drawn;
	uint32_t counts[USH_ROOM_TIERS + 1];
	/* Numbers of the lobby; those who came later follow. */
	uint32_t lobby;
	struct ush_ticket_keys tickets;
	struct ush_pace pace;
	struct ush_pace_says says;
	/* Frames for the next turn, and those whose answers are under way. */
	uint8_t (*frames)[2048];
	struct ush_packet packets[USH_LOOP_BURST];
	uint32_t packet_count;
	uint32_t frame_at;
	/* Payloads to be judged without a turn: JOIN and EXCHANGE. */
	struct ush_gate_item items[USH_GATE_BURST];
	uint8_t payloads[USH_GATE_BURST][192];
	uint32_t knockers[USH_GATE_BURST];
	uint32_t knock_count;
	/* Full turns of this tick; turns with requests of each of the last ten. */
	uint32_t turns;
	uint32_t turns_of[ONSALE_TICKS_S];
	/* Bits that a proof of work needs, as clients were told last. */
	uint32_t bits;
};

struct onsale {
	struct onsale_crowd crowd;
	uint32_t defences;
	uint32_t seats;
	struct onsale_person *people;
	/* Who has a place, by tier. */
	uint32_t *owner[USH_ROOM_TIERS + 1];
	struct onsale_visit *visits;
	uint32_t visit_count, visit_room;
	struct onsale_wheel wheel;
	uint32_t tick;
	uint32_t arrived[ONSALE_CLASSES];
	struct onsale_box box;
	/* Called and on the way, by the tick of the call; its sum; inside and looking. */
	uint32_t *called_at;
	uint32_t on_the_way;
	uint32_t looking;
	struct onsale_counts counts;
	struct onsale_waits waits[ONSALE_GROUPS];
	struct onsale_sample *samples;
	uint32_t sample_count;
	/* Who was called or went past the queue, in that order. */
	uint32_t *order;
	uint32_t order_count;
	bool sold_out;
	uint32_t sold_out_tick;
	struct ush_event_view view;
};

USH_INLINE uint64_t onsale_now(const struct onsale *sale)
{
	return HARNESS_START + sale->tick * ONSALE_TICK_NS;
}

USH_INLINE bool onsale_has(const struct onsale *sale, enum onsale_defence defence)
{
	return (sale->defences & defence) != 0;
}

/* ---- onsale_crowd.c: who they are; a function of the seed and their number ---- */

void onsale_crowd_init(struct onsale_crowd *crowd, uint64_t seed, uint32_t users, uint32_t seats);

/* What is drawn for; each has its own number. */
enum onsale_draw {
	ONSALE_DRAW_INVITED = 1,
	ONSALE_DRAW_SHOW,
	ONSALE_DRAW_DELAY,
	ONSALE_DRAW_LATE,
	ONSALE_DRAW_LOOK,
	ONSALE_DRAW_BROWSE,
	ONSALE_DRAW_PARTY,
	ONSALE_DRAW_KEEP,
	ONSALE_DRAW_CHECKOUT,
	ONSALE_DRAW_PAYMENT,
	ONSALE_DRAW_AGAIN,
	ONSALE_DRAW_WORK,
	ONSALE_DRAW_SPEED,
	ONSALE_DRAW_STORM,
	ONSALE_DRAW_HOUSEHOLD,
};

/* ret: 0 to bound - 1, the same for the same three. in: bound: 1 to 2^32. */
uint64_t onsale_draw(const struct onsale_crowd *crowd, uint32_t who, uint32_t what, uint64_t bound);
enum onsale_class onsale_class(const struct onsale_crowd *crowd, uint32_t who);
const char *onsale_class_name(enum onsale_class class);
/* ret: user id, not 0, another for each. */
uint64_t onsale_user(uint32_t who);
bool onsale_is_invited(const struct onsale_crowd *crowd, uint32_t who);
uint64_t onsale_device(const struct onsale_crowd *crowd, uint32_t who);
void onsale_address(const struct onsale_crowd *crowd, uint32_t who, uint8_t address[16]);
/* ret: tick in which the `k`-th of a class comes; never falls with k. */
uint32_t onsale_arrival(const struct onsale_crowd *crowd, enum onsale_class class, uint32_t k);
/* ret: called after so many ticks, comes. out: *delay: ticks until the exchange. */
bool onsale_shows(const struct onsale_crowd *crowd, uint32_t who, uint32_t waited, uint32_t *delay);
/* ret: ticks until seats are asked for, or ONSALE_NOBODY: only looks. */
uint32_t onsale_browse(const struct onsale_crowd *crowd, uint32_t who);
uint32_t onsale_party(const struct onsale_crowd *crowd, uint32_t who);
/* ret: ticks from the hold to the next act. out: *act: PAY, GIVE_BACK, or GONE. */
uint32_t onsale_checkout(const struct onsale_crowd *crowd, uint32_t who, enum onsale_state *act);
bool onsale_payment(const struct onsale_crowd *crowd, uint32_t who, uint32_t attempt);
/* ret: who was declined tries once more. */
bool onsale_pays_again(const struct onsale_crowd *crowd, uint32_t who, uint32_t attempt);
/* ret: ticks until a proof of work is found that is begun now. */
uint32_t onsale_work(
	struct onsale_crowd *crowd, uint32_t who, uint32_t bits, uint64_t now_ns, uint32_t attempt);

/* ---- onsale_box.c: the code under test, driven ---- */

void onsale_box_open(struct onsale *sale);
void onsale_box_close(struct onsale *sale);
/* Somebody knocks: JOIN or EXCHANGE, judged with others. */
void onsale_box_knock(struct onsale *sale, uint32_t who, uint8_t op);
/* Somebody asks for seats. in: forged: with a token that is made up. */
void onsale_box_reserve(struct onsale *sale, uint32_t who, uint32_t seats, bool forged);
/* ret: tag of an access token, as the box makes it. */
uint64_t onsale_token_tag(uint64_t user, uint64_t expiry_ns);
/* The control plane asks. */
void onsale_box_control(struct onsale *sale, uint32_t who, const struct ush_request *request);
/* All that was asked is answered. */
void onsale_box_settle(struct onsale *sale);
/* The lobby is closed and drawn, and the sale begins. */
void onsale_box_draw(struct onsale *sale);
/* ret: number of a place. */
uint64_t onsale_box_number(const struct onsale *sale, uint32_t place);
/* ret: place of a number. */
uint32_t onsale_box_place(const struct onsale *sale, uint64_t number);
/* ret: numbers given. */
uint64_t onsale_box_queue_end(const struct onsale *sale);
/* ret: load of the last second, parts per million. */
uint32_t onsale_box_load(const struct onsale *sale);

/* ---- onsale.c: what happens ---- */

/* Plays a sale to its end. */
void onsale_play(struct onsale *sale);
void onsale_free(struct onsale *sale);
/* The gate has let a JOIN or EXCHANGE through, or not. */
void onsale_joined(struct onsale *sale, uint32_t who);
void onsale_exchanged(struct onsale *sale, uint32_t who);
void onsale_refused(struct onsale *sale, uint32_t who, const struct ush_admit_says *says);
/* A reply of the loop. */
void onsale_reply(struct onsale *sale, uint32_t who, const struct ush_reply *reply);

/* ---- onsale_report.c ---- */

/* What a run came to. */
struct onsale_result {
	uint32_t defences;
	uint64_t users, admitted, sold, unsold_without_reason, over_admitted, violations, decided;
	/* Per million. */
	int64_t bot_share, rank_correlation, arrival_correlation;
};

void onsale_result(const struct onsale *sale, struct onsale_result *result);
/* All of a run, one line of JSON. */
void onsale_print(const struct onsale *sale, const struct onsale_result *result, FILE *out);
/* A fraction in parts per million, as JSON. */
void onsale_print_ppm(FILE *out, int64_t ppm);
const char *onsale_defence_name(uint32_t bit);

#endif /* USH_ONSALE_H */
