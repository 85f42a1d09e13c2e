/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting room of an event, from its lobby to its end: places, the draw, how far it serves, and
 * who has exchanged a ticket (docs/room.md).
 *
 * What is changed here has its record reserved before (docs/ARCHITECTURE.md, "The order rule"): the
 * functions named show do so, and apply() calls the same.
 *
 * Owns:  struct ush_rooms: the rooms of all events, cut from one piece of memory when opened.
 * Reads: nothing else.
 * Never: events, users' lines, devices, the log, clocks, a hash function of its own.
 */
#ifndef USH_QUEUE_H
#define USH_QUEUE_H

#include "room/draw.h"
#include "room/pace.h"
#include "room/room.h"
#include "room/ticket.h"
#include "wire/wire.h"

/* Rooms that were opened since the journal began. */
#define USH_ROOMS_MAX 16u
/* An access token ends at a multiple of 2^33 ns, 8.6 s, so that 15 bits a place remember when: 35
 * of them are 292 to 300.6 s. */
#define USH_VISIT_UNIT_BITS 33u
#define USH_VISIT_UNITS 35u
/* What is known of a number: nothing; in the slow queue; its ticket is being exchanged. */
#define USH_VISIT_NONE 0u
#define USH_VISIT_SLOW 1u
#define USH_VISIT_BUSY 2u
/* Else: it was exchanged, and the low bits of the unit where the token ends. They come round after
 * 78 hours; a token of then is given again instead of a new one. */
#define USH_VISIT_DONE 0x8000u

struct ush_queue {
	/* enum ush_room_phase. */
	_Atomic uint32_t phase;
	uint32_t event;
	/* Loop that serves it. */
	uint32_t owner;
	struct ush_room_open opened;
	struct ush_room_draw drawn;
	struct ush_room room;
	/* Places of the lobby, once it is closed. */
	uint32_t lobby;
	/* Record by which the room serves: the order is nobody's to know before it is durable; 0
	 * after a restart. */
	_Atomic uint64_t order_sequence;
	struct ush_draw draw;
	uint16_t *tables;
	/* By number. */
	_Atomic uint16_t *visit;
	uint32_t visit_count;
	/* By key id, made at the opening; which are good: newest | live << 8. */
	struct ush_key *keys;
	_Atomic uint32_t key_state;
	uint64_t key_ns;
	/* The operator's. */
	_Atomic uint32_t cap;
	_Atomic uint32_t paused;
	/* Numbers below are called, durably: what anybody may be told. */
	_Atomic uint64_t serving USH_ALIGNED(USH_CACHE_LINE);
	/* Estimate of the time from one number to the next. */
	_Atomic uint64_t wait_ns;
	/* As far as the pace allows; by who keeps the pace. */
	_Atomic uint64_t target;
	/* As far as the last record says, and its sequence; the owner's. */
	uint64_t bound;
	uint64_t bound_sequence;
	/* For those who look: called in the last minute, enum ush_room_limit. */
	_Atomic uint32_t rate;
	_Atomic uint32_t limit;
	/* Users who exchanged a ticket, each once. */
	_Atomic uint64_t exchanged USH_ALIGNED(USH_CACHE_LINE);
	/* 1: a draw is being made, or waits for its record. */
	_Atomic uint32_t drawing;
	/* Whoever keeps the pace. */
	struct ush_pace pace;
	bool paced;
};

struct ush_rooms {
	/* By event: place in `queues` + 1; 0: none. */
	_Atomic uint8_t *index;
	struct ush_queue *queues;
	/* Rooms that were begun; those that are shown are in `index`. */
	_Atomic uint32_t count;
	uint8_t *memory;
	size_t memory_bytes;
	_Atomic size_t used;
	/* Users that all rooms together may have. */
	uint32_t users;
	struct ush_key secret;
	ush_draw_hash *hash;
};

/* in: users: of all rooms together; 0: no rooms. ret: bytes, a multiple of 64. */
size_t ush_rooms_bytes(uint32_t users);

/* in: memory: ush_rooms_bytes zeroed bytes, aligned to 64. secret: the box's. */
void ush_rooms_init(
	struct ush_rooms *rooms, void *memory, uint32_t users, const struct ush_key *secret);

/* ret: the room of an event that is shown, or NULL. by: any thread. */
USH_INLINE struct ush_queue *ush_rooms_find(const struct ush_rooms *rooms, uint32_t event)
{
	uint32_t at;

	if (rooms->users == 0 || event > USH_EVENT_ID_MAX)
		return NULL;
	/* Acquire pairs with ush_queue_show_open. */
	at = atomic_load_explicit(&rooms->index[event], memory_order_acquire);
	return at == 0 ? NULL : &rooms->queues[at - 1];
}

/* ret: rooms that may be in use. by: any thread. */
USH_INLINE uint32_t ush_rooms_count(const struct ush_rooms *rooms)
{
	return atomic_load_explicit(&rooms->count, memory_order_acquire);
}

/* Takes memory for a room, which nobody sees yet. in: opened: `users` 1 or more. ret: NULL: no
 * room. by: any loop. */
struct ush_queue *ush_queue_begin(
	struct ush_rooms *rooms, uint32_t event, const struct ush_room_open *opened);

/* The room has a lobby: its record has its slot. by: who began it. */
void ush_queue_show_open(struct ush_rooms *rooms, struct ush_queue *queue);

/* The record that closes the lobby or draws its order, before that is shown. by: the owner. */
USH_INLINE void ush_queue_order_by(struct ush_queue *queue, uint64_t sequence)
{
	/* Relaxed: the phase, which is stored after it, is released. */
	atomic_store_explicit(&queue->order_sequence, sequence, memory_order_relaxed);
}

/* ret: true if the room serves by an order that cannot be lost. in: durable: of the log. */
USH_INLINE bool ush_queue_order_is_kept(const struct ush_queue *queue, uint64_t durable)
{
	return atomic_load_explicit(&queue->order_sequence, memory_order_relaxed) < durable;
}

/* ret: enum ush_room_phase. */
USH_INLINE uint32_t ush_queue_phase(const struct ush_queue *queue)
{
	return atomic_load_explicit(&queue->phase, memory_order_acquire);
}

/* The lobby is closed, joins go to the queue; with nobody in it the room serves. by: the owner. */
void ush_queue_show_close(struct ush_queue *queue);

/* Makes the tables of the draw, to be shown by ush_queue_show_draw or given up. in: drawn:
 * beacon_bytes 16 to 64. err: -USH_EINVAL: the seed is not that of the hash; -USH_ENOENT: no hash
 * function; -USH_EBUSY: another is being made; -USH_ERANGE: the lobby is not closed, or its order
 * is drawn. by: one thread that is no loop, or replay. cost: some 10 ms for ten million (guess). */
int ush_queue_draw(
	struct ush_rooms *rooms, struct ush_queue *queue, const struct ush_room_draw *drawn);

/* Gives up what ush_queue_draw has made. */
void ush_queue_undraw(struct ush_queue *queue);

/* The order is drawn: its record has its slot. by: the owner. */
void ush_queue_show_draw(struct ush_queue *queue);

/* Joins a user, see room/room.h; who gets a place of the queue has a word at `number`. */
USH_INLINE uint64_t ush_queue_hash(const struct ush_queue *queue, uint64_t user)
{
	return ush_room_hash(&queue->room, user);
}

/* ret: the number of a place, or UINT64_MAX: there is no such place. in: the room serves, or tier
 * is 7 and its lobby is closed. */
uint64_t ush_queue_number(const struct ush_queue *queue, uint32_t tier, uint64_t index);

/* ret: numbers that are given so far. in: the lobby is closed. */
uint64_t ush_queue_end(const struct ush_queue *queue);

/* The ticket keys of now. out: keys. */
void ush_queue_keys(const struct ush_queue *queue, struct ush_ticket_keys *keys);

/* New tickets have the next key. ret: its id. by: the owner. */
void ush_queue_show_key(struct ush_queue *queue, uint8_t id);

/* ret: what is known of a number. by: any loop. */
USH_INLINE uint16_t ush_visit(const struct ush_queue *queue, uint64_t number)
{
	USH_ASSERT(number < queue->visit_count);
	return atomic_load_explicit(&queue->visit[number], memory_order_acquire);
}

USH_INLINE void ush_visit_set(struct ush_queue *queue, uint64_t number, uint16_t word)
{
	USH_ASSERT(number < queue->visit_count);
	atomic_store_explicit(&queue->visit[number], word, memory_order_release);
}

/* One loop exchanges a ticket at a time. ret: false: the word is another by now. */
USH_INLINE bool ush_visit_take(struct ush_queue *queue, uint64_t number, uint16_t word)
{
	return atomic_compare_exchange_strong_explicit(&queue->visit[number], &word, USH_VISIT_BUSY,
		memory_order_acquire, memory_order_relaxed);
}

/* ret: when a token that is made now expires. */
USH_INLINE uint64_t ush_visit_expiry(uint64_t now_ns)
{
	return ((now_ns >> USH_VISIT_UNIT_BITS) + USH_VISIT_UNITS) << USH_VISIT_UNIT_BITS;
}

USH_INLINE uint16_t ush_visit_word(uint64_t expiry_ns)
{
	return (uint16_t)(USH_VISIT_DONE |
			  ((expiry_ns >> USH_VISIT_UNIT_BITS) & (USH_VISIT_DONE - 1)));
}

/* ret: when the token that the word remembers expires, after now; 0: it has. */
USH_INLINE uint64_t ush_visit_live(uint16_t word, uint64_t now_ns)
{
	uint64_t unit = now_ns >> USH_VISIT_UNIT_BITS;
	uint64_t left = (word - unit) & (USH_VISIT_DONE - 1);

	/* One more: of a loop whose clock is in the next unit already. */
	if ((word & USH_VISIT_DONE) == 0 || left < 1 || left > USH_VISIT_UNITS + 1)
		return 0;
	return (unit + left) << USH_VISIT_UNIT_BITS;
}

/* ret: true if a number was called. in: word: what is known of it. end: numbers given. */
USH_INLINE bool ush_queue_is_called(
	const struct ush_queue *queue, uint64_t number, uint16_t word, uint64_t serving)
{
	if (number >= serving)
		return false;
	if (ush_likely(word != USH_VISIT_SLOW))
		return true;
	return serving >= ush_min64(number + 1 + queue->opened.slow_places, ush_queue_end(queue));
}

/* The key of the draw (docs/draw.md). in: hash: SHA-256. */
void ush_queue_draw_key(uint32_t event, const struct ush_room_draw *drawn,
	const uint32_t counts[USH_DRAW_TIERS], ush_draw_hash *hash,
	uint8_t key[USH_DRAW_KEY_BYTES]);

/* The hash of a seed (docs/draw.md). */
void ush_queue_seed_hash(
	uint32_t event, const uint8_t seed[32], ush_draw_hash *hash, uint8_t out[32]);

#endif /* USH_QUEUE_H */
