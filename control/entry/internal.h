/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of entry/ share.
 *
 * Owns:  struct ush_entry.
 * Reads: nothing.
 * Never: seen outside this folder.
 */
#ifndef USH_ENTRY_INTERNAL_H
#define USH_ENTRY_INTERNAL_H

#include "entry/beacon.h"
#include "entry/captcha.h"
#include "entry/crowd.h"
#include "entry/entry.h"
#include "entry/keys.h"
#include "entry/limit.h"
#include "entry/status.h"
#include "entry/work.h"
#include "link/link.h"
#include "people/people.h"

struct entry_lobby;
struct entry_schedule;
struct event;

/* Of a call to usherd: a whole second of trouble on the box is waited out. */
#define ENTRY_CALL_MS 3000u
/* Tries of something that may be repeated, and how long between them. */
#define ENTRY_TRIES 60u
#define ENTRY_AGAIN_MS 50u

/* How the room of an event stands, as far as anybody asked. */
struct entry_room {
	struct ush_entry *entry;
	struct entry_room *next;
	uint32_t event;
	/* 0: not known yet; else when usherd last said how it is. */
	int64_t fresh_us;
	int64_t asked_us;
	bool asking;
	/* It had a room when this process, or the one before, last knew. */
	bool had;
	/* enum ush_status: OK: there is a room; NO_ROOM, UNKNOWN_EVENT. */
	uint8_t status;
	struct ush_room_view view;
	/* The status object; NULL: not built. */
	char *text;
	size_t text_bytes;
	char etag[32];
	uint64_t salt;
	struct entry_waiter *waiters;
	/* When its lobby will be closed, as was said when it was opened; 0: not said. */
	int64_t closes_us;
	bool closes_known;
	uint8_t closes_of[32]; /* the seed's hash that it is of */
	/* Of a closed lobby, if somebody asked for it. */
	struct entry_lobby *lobby;
	bool loading;
};

struct ush_entry {
	const struct ush_core *core;
	char *folder; /* of the keys */
	enum ush_jwt_alg alg;
	struct ush_jwt_keys keys;
	int64_t rotate_us;
	int64_t keys_read_us;
	char *jwks;
	struct ush_captcha captcha;
	char *captcha_secret;
	const char *captcha_provider;
	const char *captcha_site_key;
	bool captcha_address; /* the provider is told the client's */
	uint32_t work_bits;
	struct ush_key work_key;
	struct ush_limit *limit;
	struct ush_crowd *crowd;
	struct ush_crowd_bounds bounds;
	/* Of all suspicious clients of an event: usherd counts them as one device. */
	struct ush_key slow_key;
	uint64_t address_a_minute, address_burst, account_a_minute, account_burst;
	struct entry_room **by_event;
	struct entry_room *rooms;
	uint32_t room_count;
	uint32_t waiting;
	struct event *timer;
	struct ush_beacon beacon;
	struct entry_schedule *schedule;
	/* Calls under way, whose answers name this structure: it lives until they came. */
	uint32_t pending;
	bool closed;
	/* Counted for the log. */
	uint64_t slowed, limited;
};

/* ---- rooms.c ---- */

void entry_get_status(struct ush_http_request *request, void *context);
/* ret: what is known of an event's room, which is asked for if it is old; NULL: too many. */
struct entry_room *entry_room_of(struct ush_entry *entry, uint32_t event);
/* ret: true if there is a room, and it is known how it stands. */
bool entry_room_is_fresh(const struct entry_room *room);
/* Each second: asks how rooms stand, forgets what nobody asks for. */
void entry_rooms_tick(struct ush_entry *entry);
/* Something was changed: asks at once. */
void entry_room_ask(struct entry_room *room);
/* Those that the process before knew to have rooms; their names are files of STATE/rooms. */
void entry_rooms_recall(struct ush_entry *entry);
/* Answers all who wait. */
void entry_rooms_drain(struct ush_entry *entry);
void entry_rooms_close(struct ush_entry *entry);

/* ---- join.c ---- */

void entry_post_join(struct ush_http_request *request, void *context);
void entry_get_place(struct ush_http_request *request, void *context);
void entry_post_exchange(struct ush_http_request *request, void *context);

/* ---- draw.c ---- */

void entry_get_draw(struct ush_http_request *request, void *context);
void entry_get_proof(struct ush_http_request *request, void *context);
/* Says why there is no lobby. */
void entry_refuse_lobby(struct ush_http_request *request, uint8_t status);

/* ---- plan.c ---- */

/* Asks the table when the lobby of a room will be closed; then the room is asked for again. */
void entry_closes_ask(struct entry_room *room, const uint8_t seed_hash[32]);

/* ---- admin.c ---- */

void entry_post_admin(struct ush_http_request *request, void *context);
void entry_post_rotate(struct ush_http_request *request, void *context);

/* ---- standing.c ---- */

void entry_get_admin(struct ush_http_request *request, void *context);

/* ---- entry.c ---- */

/* ret: false: over a rate, and 429 was answered. account: 0: not looked at. */
bool entry_rate(struct ush_entry *entry, struct ush_http_request *request, uint64_t account);
/* Says what usherd's refusal means. */
void entry_refuse(struct ush_http_request *request, const struct ush_reply *reply);
/* 503 with Retry-After. */
void entry_not_ready(struct ush_http_request *request, const char *what);
/* The end of a call that counted in `pending`. ret: false: all is closed; nothing may be touched.
 */
bool entry_call_over(struct ush_entry *entry);
/* After a change of keys. */
void entry_keys_changed(struct ush_entry *entry);
/* RFC 3339 in UTC. */
void entry_time_text(int64_t us, char text[32]);

#endif /* USH_ENTRY_INTERNAL_H */
