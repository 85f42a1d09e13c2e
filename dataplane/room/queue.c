/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room is cut from the memory of all rooms: its table of users, the tables of its draw, its keys,
 * two bytes for each number. Memory is never given back: a room lasts as long as its journal.
 *
 * What fails: too many rooms or users: NULL, and nothing changed but memory that a race lost.
 */
#include <string.h>

#include "room/queue.h"

#define KEY_COUNT 256u
/* Loops may pass the limit by one each (room/room.h). */
#define OVER 64u
#define SEED_TAG "usher/draw/seed1"
#define KEY_TAG "usher/draw/key.1"
#define TAG_BYTES 16u

static size_t line_up(size_t bytes)
{
	return (bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
}

static size_t queue_bytes(uint32_t users)
{
	return line_up(ush_room_bytes(users)) + line_up(ush_draw_bytes(users + OVER)) +
	       line_up(sizeof(uint16_t) * ((size_t)users + OVER)) +
	       line_up(KEY_COUNT * sizeof(struct ush_key));
}

static size_t head_bytes(void)
{
	return line_up(USH_EVENT_ID_MAX + 1u) + USH_ROOMS_MAX * line_up(sizeof(struct ush_queue));
}

size_t ush_rooms_bytes(uint32_t users)
{
	if (users == 0)
		return 0;
	/* Many small rooms need a bit more than one large one. */
	return head_bytes() + queue_bytes(users) + USH_ROOMS_MAX * queue_bytes(1) +
	       line_up(3 * ush_draw_bytes(users + OVER));
}

void ush_rooms_init(
	struct ush_rooms *rooms, void *memory, uint32_t users, const struct ush_key *secret)
{
	uint8_t *at = memory;

	*rooms = (struct ush_rooms){.users = users, .secret = *secret};
	if (users == 0)
		return;
	rooms->index = (_Atomic uint8_t *)at;
	at += line_up(USH_EVENT_ID_MAX + 1u);
	rooms->queues = (struct ush_queue *)(void *)at;
	rooms->memory = (uint8_t *)memory + head_bytes();
	rooms->memory_bytes = ush_rooms_bytes(users) - head_bytes();
}

/* ret: the memory, or NULL. */
static uint8_t *cut(struct ush_rooms *rooms, size_t bytes)
{
	size_t used = atomic_load_explicit(&rooms->used, memory_order_relaxed);

	do {
		if (bytes > rooms->memory_bytes - used)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&rooms->used, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
	return rooms->memory + used;
}

/* ret: a place for a room, or NULL. */
static struct ush_queue *take_place(struct ush_rooms *rooms)
{
	uint32_t count = atomic_load_explicit(&rooms->count, memory_order_relaxed);

	do {
		if (count == USH_ROOMS_MAX)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&rooms->count, &count, count + 1, memory_order_release, memory_order_relaxed));
	return &rooms->queues[count];
}

static void make_keys(const struct ush_rooms *rooms, struct ush_queue *queue)
{
	for (uint64_t id = 0; id < KEY_COUNT; id++) {
		uint64_t what = queue->event | id << 32;

		queue->keys[id] = (struct ush_key){
			ush_siphash_2(&rooms->secret, 0x7469636b6574, what | 1ull << 40),
			ush_siphash_2(&rooms->secret, 0x7469636b6574, what | 1ull << 41)};
	}
}

struct ush_queue *ush_queue_begin(
	struct ush_rooms *rooms, uint32_t event, const struct ush_room_open *opened)
{
	struct ush_key key = {ush_siphash_2(&rooms->secret, 0x726f6f6d, event),
		ush_siphash_2(&rooms->secret, 0x726f6f6d, event | 1ull << 32)};
	uint32_t users = opened->users;
	struct ush_queue *queue;
	uint8_t *at;

	USH_ASSERT(users >= 1);
	if (users > rooms->users || ush_rooms_count(rooms) == USH_ROOMS_MAX)
		return NULL;
	at = cut(rooms, queue_bytes(users));
	queue = at == NULL ? NULL : take_place(rooms);
	if (queue == NULL)
		return NULL;
	/* Zero from the start: places are never used again. */
	queue->event = event;
	queue->opened = *opened;
	ush_room_init(&queue->room, at, users, &key);
	at += line_up(ush_room_bytes(users));
	queue->tables = (uint16_t *)(void *)at;
	at += line_up(ush_draw_bytes(users + OVER));
	queue->visit = (_Atomic uint16_t *)(void *)at;
	queue->visit_count = users + OVER;
	at += line_up(sizeof(uint16_t) * ((size_t)users + OVER));
	queue->keys = (struct ush_key *)(void *)at;
	make_keys(rooms, queue);
	atomic_store_explicit(&queue->key_state, 1u | 1u << 8, memory_order_relaxed);
	atomic_store_explicit(&queue->cap, opened->cap, memory_order_relaxed);
	return queue;
}

void ush_queue_show_open(struct ush_rooms *rooms, struct ush_queue *queue)
{
	atomic_store_explicit(&queue->phase, USH_ROOM_PHASE_LOBBY, memory_order_relaxed);
	atomic_store_explicit(&rooms->index[queue->event], (uint8_t)(queue - rooms->queues + 1),
		memory_order_release);
}

static uint32_t lobby_counts(const struct ush_queue *queue, uint32_t counts[USH_ROOM_TIERS + 1])
{
	uint32_t lobby = 0;

	ush_room_counts(&queue->room, counts);
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++)
		lobby += counts[tier];
	return lobby;
}

/* From here on numbers can be asked for. */
static void serve(struct ush_queue *queue)
{
	/* Release: who sees the phase sees the draw. */
	atomic_store_explicit(&queue->phase, USH_ROOM_PHASE_SERVING, memory_order_release);
}

void ush_queue_show_close(struct ush_queue *queue)
{
	static const uint8_t no_key[USH_DRAW_KEY_BYTES];
	uint32_t counts[USH_ROOM_TIERS + 1];
	uint32_t lobby = lobby_counts(queue, counts);

	/* How many come before the queue is known from here, whatever their order. */
	queue->lobby = lobby;
	ush_room_open_queue(&queue->room);
	if (lobby != 0) {
		atomic_store_explicit(&queue->phase, USH_ROOM_PHASE_DRAW, memory_order_release);
		return;
	}
	/* Nobody is drawn, so nothing is hashed. */
	ush_draw_open(&queue->draw, queue->tables, counts, no_key, NULL);
	serve(queue);
}

void ush_queue_seed_hash(
	uint32_t event, const uint8_t seed[32], ush_draw_hash *hash, uint8_t out[32])
{
	uint8_t message[TAG_BYTES + 4 + 32];

	memcpy(message, SEED_TAG, TAG_BYTES);
	memcpy(message + TAG_BYTES, &event, 4);
	memcpy(message + TAG_BYTES + 4, seed, 32);
	hash(message, sizeof(message), out);
}

void ush_queue_draw_key(uint32_t event, const struct ush_room_draw *drawn,
	const uint32_t counts[USH_DRAW_TIERS], ush_draw_hash *hash, uint8_t key[USH_DRAW_KEY_BYTES])
{
	uint8_t message[TAG_BYTES + 4 + 64 + 4 * USH_DRAW_TIERS + 1 + 64], *at = message;

	memcpy(at, KEY_TAG, TAG_BYTES);
	at += TAG_BYTES;
	memcpy(at, &event, 4);
	memcpy(at + 4, drawn->seed, 32);
	memcpy(at + 36, drawn->root, 32);
	memcpy(at + 68, counts, 4 * USH_DRAW_TIERS);
	at += 68 + 4 * USH_DRAW_TIERS;
	*at++ = drawn->beacon_bytes;
	memcpy(at, drawn->beacon, drawn->beacon_bytes);
	hash(message, (size_t)(at - message) + drawn->beacon_bytes, key);
}

int ush_queue_draw(
	struct ush_rooms *rooms, struct ush_queue *queue, const struct ush_room_draw *drawn)
{
	uint32_t counts[USH_ROOM_TIERS + 1], idle = 0;
	uint8_t hash[32];

	if (rooms->hash == NULL)
		return -USH_ENOENT;
	if (!atomic_compare_exchange_strong_explicit(
		    &queue->drawing, &idle, 1, memory_order_acquire, memory_order_relaxed))
		return -USH_EBUSY;
	/* Once drawn it is in use: `drawing` stays set. */
	if (ush_queue_phase(queue) != USH_ROOM_PHASE_DRAW) {
		ush_queue_undraw(queue);
		return -USH_ERANGE;
	}
	ush_queue_seed_hash(queue->event, drawn->seed, rooms->hash, hash);
	if (memcmp(hash, queue->opened.seed_hash, sizeof(hash)) != 0) {
		ush_queue_undraw(queue);
		return -USH_EINVAL;
	}
	lobby_counts(queue, counts);
	ush_queue_draw_key(queue->event, drawn, counts, rooms->hash, hash);
	ush_draw_open(&queue->draw, queue->tables, counts, hash, rooms->hash);
	queue->drawn = *drawn;
	return 0;
}

void ush_queue_undraw(struct ush_queue *queue)
{
	atomic_store_explicit(&queue->drawing, 0, memory_order_release);
}

void ush_queue_show_draw(struct ush_queue *queue)
{
	serve(queue);
}

uint64_t ush_queue_number(const struct ush_queue *queue, uint32_t tier, uint64_t index)
{
	uint64_t number;

	if (tier > USH_DRAW_TIER_FIFO || index > UINT32_MAX ||
		(tier < USH_DRAW_TIER_FIFO && index >= queue->draw.tier[tier].count))
		return UINT64_MAX;
	if (tier == USH_DRAW_TIER_FIFO)
		number = queue->lobby + index;
	else
		number = ush_draw_number(&queue->draw, tier, (uint32_t)index);
	return number < queue->visit_count ? number : UINT64_MAX;
}

uint64_t ush_queue_end(const struct ush_queue *queue)
{
	uint32_t next =
		atomic_load_explicit(&queue->room.next[USH_ROOM_TIER_FIFO], memory_order_relaxed);

	return queue->lobby + (uint64_t)(next & ~(1u << 31));
}

void ush_queue_keys(const struct ush_queue *queue, struct ush_ticket_keys *keys)
{
	uint32_t state = atomic_load_explicit(&queue->key_state, memory_order_relaxed);
	uint8_t newest = (uint8_t)state, before = (uint8_t)(newest - 1u);

	keys->newest = newest;
	keys->live = (uint8_t)(state >> 8);
	keys->key[newest & 1] = queue->keys[newest];
	keys->key[before & 1] = queue->keys[before];
}

void ush_queue_show_key(struct ush_queue *queue, uint8_t id)
{
	atomic_store_explicit(&queue->key_state, id | 2u << 8, memory_order_relaxed);
}
