/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `usher load`: what its files share.
 *
 * One loop in one thread (load.c): take replies, send again what was not answered, make what the
 * schedule says is due, send. Everything is allocated before the loop starts.
 *
 * Owns:  struct load and its parts; each part is written by the file named beside it.
 * Reads: nothing.
 * Never: code of the appliance beyond the wire table and base.
 */
#ifndef USH_LOAD_H
#define USH_LOAD_H

#include <stdio.h>

#include "base/base.h"
#include "base/histogram.h"
#include "wire/wire.h"
#include "load_pack.h"
#include "load_transport.h"

/* ---- options (load_options.c) -------------------------------------------------------------- */

#define LOAD_VENUES_MAX 64u
#define LOAD_NS_PER_S 1000000000ull
#define LOAD_NS_PER_MS 1000000ull

/* What a request is made to be. */
enum load_kind {
	LOAD_UNIFORM, /* RESERVE adjacent seats of a random row */
	LOAD_HOT,     /* RESERVE adjacent seats of one of the hot rows */
	LOAD_SWEEP,   /* RESERVE the next seats in order, every seat once */
	LOAD_MULTI,   /* RESERVE seats of several rows */
	LOAD_RELEASE, /* RELEASE the oldest hold we know */
	LOAD_QUERY,   /* QUERY_HOLD or QUERY_SECTION */
	LOAD_STATUS,  /* STATUS of an event */
	LOAD_RETRY,   /* an answered request again: same id, same body, same answer wanted */
	LOAD_DOUBLE,  /* as UNIFORM, sent twice at once */
	LOAD_MALFORMED,
	LOAD_KIND_COUNT,
};

enum load_progress {
	LOAD_PROGRESS_LINE,
	LOAD_PROGRESS_JSON,
	LOAD_PROGRESS_NONE,
};

struct load_options {
	struct load_transport_options transport;
	uint64_t rate;
	uint64_t window;
	uint64_t pack;
	uint64_t duration_ns;
	uint64_t requests;
	uint64_t users;
	uint64_t user_base;
	uint64_t request_id_base;
	uint64_t seats_per_request;
	uint64_t hot_rows;
	uint64_t hold_ms;
	uint64_t timeout_ns;
	uint64_t retries;
	uint64_t backoff_ns;
	uint64_t outstanding;
	uint64_t seed;
	const char *events;
	const char *mix;
	const char *venue[LOAD_VENUES_MAX];
	uint32_t venue_count;
	const char *ack_file;
	const char *json;
	const char *progress;
	bool append;
	bool allow_loss;
	bool echo;
	/* Worked out from the texts above. */
	enum load_progress progress_kind;
	uint32_t weight[LOAD_KIND_COUNT];
	uint32_t weight_sum;
	uint32_t event_id[1024];
	uint32_t event_count;
};

/* ret: 0; 1 when --help was printed; -USH_EINVAL after printing what is wrong. */
int load_options_parse(struct load_options *options, int argc, char **argv);

/* ---- geometry (load_venue.c) --------------------------------------------------------------- */

/* What can be asked for in one venue. */
struct load_venue {
	uint32_t row_count;
	uint32_t section_count;
	uint32_t seat_count;
	/* By row: seats that can be bought; those where a group of --seats-per-request adjacent
	 * ones starts; number of the row's first seat among all. */
	uint64_t *seats;
	uint64_t *starts;
	uint32_t *base;
	/* Rows where `starts` is not zero. */
	uint32_t *usable;
	uint32_t usable_count;
};

/* Reads a compiled venue image. err: -USH_ENOENT, -USH_ECORRUPT, -USH_ENOMEM with a message. */
int load_venue_read(
	struct load_venue *venue, const char *path, uint32_t group, struct ush_message *message);
/* From the masks of rows 0 to row_count - 1. err: -USH_EINVAL, -USH_ENOMEM with a message. */
int load_venue_make(struct load_venue *venue, const uint64_t *seats, uint32_t row_count,
	uint32_t section_count, uint32_t group, struct ush_message *message);
/* Asks the target for the rows that are free now. err: -USH_EBUSY when nobody answers. */
int load_venue_ask(struct load_venue *venue, struct load_transport *transport, uint32_t event,
	uint32_t group, uint64_t wait_ns, struct ush_message *message);
void load_venue_free(struct load_venue *venue);

/* ---- requests under way (load_track.c) ----------------------------------------------------- */

/* A cookie is issue number << 24 | slot. Bit 63 marks malformed packets, bit 62 questions asked
 * before the run; neither has a slot. */
#define LOAD_SLOT_BITS 24u
#define LOAD_COOKIE_MALFORMED (1ull << 63)
#define LOAD_COOKIE_BEFORE (1ull << 62)
#define LOAD_NONE UINT32_MAX

enum load_slot_state {
	LOAD_SLOT_FREE = 0,
	LOAD_SLOT_FLYING,  /* sent, on the list `flying` in order of sending */
	LOAD_SLOT_RESTING, /* told to come back later, on the list `resting` */
};

struct load_slot {
	/* As on the wire; what is sent again. */
	struct ush_request request;
	/* When the schedule wanted it sent: latency counts from here. */
	uint64_t intended_ns;
	uint64_t sent_ns;
	/* LOAD_RETRY: the answer that was given before. */
	uint64_t before_hold;
	/* As stats.resent was when it was given: a restart in between shows. */
	uint64_t before_resent;
	uint32_t next;
	uint32_t previous;
	uint32_t event_index;
	uint32_t retries;
	uint16_t tail_bytes;
	uint8_t state;
	uint8_t kind;
	uint8_t leg_count;
	uint8_t before_status;
	uint8_t padding[10];
} USH_ALIGNED(64);
static_assert(sizeof(struct load_slot) == 128, "a slot is two cache lines");

/* Room for the LEGS extension of one slot. */
struct load_legs {
	struct ush_extension_header header;
	struct ush_leg leg[USH_LEG_COUNT_MAX - 1];
};

struct load_list {
	uint32_t first;
	uint32_t last;
	uint32_t count;
};

/* ---- answers (load_grants.c) --------------------------------------------------------------- */

/* Who was told that he has a seat. */
struct load_owner {
	uint64_t hold;
	uint64_t deadline_ns;
};

/* One event as the generator knows it. */
struct load_event {
	uint32_t id;
	const struct load_venue *venue;
	/* By row: seats someone was granted. */
	uint64_t *granted;
	/* By seat number in the venue. */
	struct load_owner *owner;
};

/* A hold of ours that may be released or looked at. */
struct load_hold {
	uint64_t hold;
	uint64_t mask;
	uint32_t user_index;
	uint32_t event_index;
	uint32_t row;
};
#define LOAD_HOLDS 65536u

/* An answered request, to be sent again. */
struct load_answered {
	struct ush_request request;
	uint64_t hold;
	uint64_t resent;
	uint32_t event_index;
	uint8_t status;
};
#define LOAD_ANSWERS 4096u

/* ---- measures (load_report.c) -------------------------------------------------------------- */

enum load_class {
	LOAD_CLASS_GRANTED,  /* RESERVE, OK */
	LOAD_CLASS_RELEASED, /* RELEASE, OK */
	LOAD_CLASS_REFUSED,  /* anything but OK */
	LOAD_CLASS_READ,     /* queries and repeats, OK */
	LOAD_CLASS_COUNT,
};

struct load_stats {
	uint64_t asked;
	uint64_t answered;
	uint64_t by_class[LOAD_CLASS_COUNT];
	uint64_t refused[USH_STATUS_COUNT + 1]; /* the last: statuses we do not know */
	uint64_t granted_seats;
	uint64_t lost;
	uint64_t resent;
	uint64_t doubled;
	uint64_t told_to_wait;
	uint64_t duplicates;
	uint64_t unexpected;
	uint64_t repeats;
	uint64_t repeats_forgotten;
	uint64_t repeats_changed;
	uint64_t double_granted;
	uint64_t malformed_sent;
	uint64_t malformed_answered;
	uint64_t malformed_accepted;
	uint64_t unanswered;
	uint64_t ack_entries;
	uint64_t first_ns;
	uint64_t last_ns;
};

/* ---- everything ---------------------------------------------------------------------------- */

struct load {
	struct load_options options;
	struct load_transport *transport;
	struct load_venue venue[LOAD_VENUES_MAX];
	uint32_t venue_count;
	struct load_event *events;

	/* load_track.c */
	struct load_slot *slots;
	struct load_legs *legs;
	uint32_t *free_slots;
	uint32_t slot_count;
	uint32_t free_count;
	struct load_list flying;
	struct load_list resting;
	uint64_t issue;

	/* Packets to send; refilled when all are gone. */
	struct load_batch batch;
	/* load_pack.c: the datagram that requests are put into before it goes to the batch. */
	struct load_pack pack;

	/* load_traffic.c */
	struct ush_random random;
	uint8_t kinds[1000];
	uint32_t *next_id;
	uint32_t user_cursor;
	uint32_t sweep_event;
	uint32_t sweep_row;
	uint64_t sweep_left;
	bool sweep_done;
	uint32_t event_cursor;

	/* load_grants.c */
	struct load_hold *holds;
	uint64_t holds_put;
	uint64_t holds_taken;
	struct load_answered *answers;
	uint64_t answers_put;
	FILE *ack;

	/* load_report.c */
	struct load_stats stats;
	struct load_stats stats_before;
	struct ush_histogram latency[LOAD_CLASS_COUNT];
	struct ush_histogram second;
	/* Answers that came before the first outage of the link. */
	struct ush_histogram steady;
	uint64_t second_ns;

	/* load.c: the schedule. */
	uint64_t start_ns;
	uint64_t due_ns;
	uint64_t due_fraction;
	uint64_t step_ns;
	uint64_t step_fraction;
	uint64_t behind_max_ns;
	/* When the last request was made, and how far the schedule was behind then. */
	uint64_t issue_end_ns;
	uint64_t behind_end_ns;
	bool exhausted;
	uint64_t wall_offset_ns;
};

/* load_track.c: the table of requests under way. */
int load_track_init(struct load *load, struct ush_message *message);
void load_track_free(struct load *load);
/* ret: an empty slot with its cookie set, or NULL when all are taken. */
struct load_slot *load_track_take(struct load *load);
/* Puts a filled slot into the batch for the first time. */
void load_track_send(struct load *load, struct load_slot *slot, uint64_t now_ns);
/* Sends again what timed out or has rested; gives up what was sent often enough. */
void load_track_expire(struct load *load, uint64_t now_ns);
/* Takes one message. */
void load_track_reply(struct load *load, const void *payload, uint32_t bytes, uint64_t now_ns);
/* Requests sent or resting, not yet answered or lost. */
uint32_t load_track_count(const struct load *load);

/* load_traffic.c: makes requests. */
int load_traffic_init(struct load *load, struct ush_message *message);
void load_traffic_free(struct load *load);
/* Puts the next request into the batch. ret: false if there is nothing left to ask (sweep) or no
 * slot. */
bool load_traffic_next(struct load *load, uint64_t intended_ns, uint64_t now_ns);
/* ret: the user's next request id. */
uint32_t load_traffic_id(struct load *load, uint32_t user_index);

/* load_malformed.c: puts one broken packet into the batch. */
void load_malformed_next(struct load *load, uint64_t now_ns);

/* load_grants.c: keeps what was promised, and finds broken promises. */
int load_grants_init(struct load *load, struct ush_message *message);
void load_grants_free(struct load *load);
/* A RESERVE was answered OK. */
void load_grants_add(struct load *load, const struct load_slot *slot, const struct ush_reply *reply,
	uint64_t wall_ns);
/* A RELEASE is about to be sent: from now on the seats may be someone else's. */
void load_grants_clear(struct load *load, const struct load_hold *hold);
/* Remembers an answer, for LOAD_RETRY. */
void load_grants_answered(
	struct load *load, const struct load_slot *slot, const struct ush_reply *reply);
/* A repeat was answered. */
void load_grants_repeat(
	struct load *load, const struct load_slot *slot, const struct ush_reply *reply);

/* load_ack.c: the acknowledgement file. */
int load_ack_open(struct load *load, struct ush_message *message);
void load_ack_write(struct load *load, const struct load_slot *slot, const struct ush_reply *reply);
int load_ack_close(struct load *load, struct ush_message *message);

/* load_report.c */
void load_report_progress(struct load *load, uint64_t now_ns);
/* Prints the table and the JSON object. ret: an enum usher_exit. */
int load_report_end(struct load *load, uint64_t now_ns);

#endif /* USH_LOAD_H */
