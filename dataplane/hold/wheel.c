/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wheel's lists are doubly linked by hold index. wheel_prev of a list's first line is its slot
 * with SLOT_BIT set, so that a line can be taken out without knowing where it hangs.
 */
#include "hold/hold.h"

#define SLOT_BIT 0x80000000u
#define DUE_SLOT (SLOT_BIT | (USH_WHEEL_LEVELS * USH_WHEEL_SLOTS))
#define LEVEL_BITS 8u
#define TOP_SHIFT (LEVEL_BITS * (USH_WHEEL_LEVELS - 1))
#define TICK_NS (1ull << USH_WHEEL_TICK_BITS)

static_assert(USH_WHEEL_SLOTS == 1u << LEVEL_BITS, "a slot index is eight bits");
static_assert(USH_HOLD_INDEX_BITS < 31, "an index never has the slot bit");

static uint32_t *slot_head(struct ush_wheel *wheel, uint32_t slot)
{
	slot &= ~SLOT_BIT;
	if (slot == (DUE_SLOT & ~SLOT_BIT))
		return &wheel->due;
	return &wheel->head[slot >> LEVEL_BITS][slot & (USH_WHEEL_SLOTS - 1)];
}

static void hang(struct ush_hold_pool *pool, uint32_t slot, uint32_t index)
{
	struct ush_hold *hold = &pool->lines[index];
	uint32_t *head = slot_head(&pool->wheel, slot);

	hold->wheel_prev = slot | SLOT_BIT;
	hold->wheel_next = *head;
	if (*head != USH_HOLD_NONE)
		pool->lines[*head].wheel_prev = index;
	*head = index;
}

/* The first tick that starts at or after the deadline. Another loop may be moving the deadline: it
 * only ever becomes later, and a hold that comes up early is hung again. */
static uint64_t deadline_tick(const struct ush_hold *hold)
{
	uint64_t deadline_ns = __atomic_load_n(&hold->deadline_ns, __ATOMIC_RELAXED);

	return (deadline_ns >> USH_WHEEL_TICK_BITS) + ((deadline_ns & (TICK_NS - 1)) != 0);
}

static void hang_by_tick(struct ush_hold_pool *pool, uint32_t index, uint64_t tick)
{
	struct ush_wheel *wheel = &pool->wheel;
	uint32_t level, shift;

	/* What is due already comes up at the next tick. */
	if (ush_unlikely(tick <= wheel->tick))
		tick = wheel->tick + 1;
	/* The highest byte that differs; it does somewhere. */
	level = (63u - (uint32_t)__builtin_clzll(tick ^ wheel->tick)) / LEVEL_BITS;
	if (ush_unlikely(level > USH_WHEEL_LEVELS - 1))
		level = USH_WHEEL_LEVELS - 1;
	/* The top level goes round: it holds every slot but the current one. What is beyond hangs
	 * as far as it reaches, and moves on when it comes up. */
	if ((tick >> TOP_SHIFT) - (wheel->tick >> TOP_SHIFT) >= USH_WHEEL_SLOTS)
		tick = wheel->tick + ((USH_WHEEL_SLOTS - 1ull) << TOP_SHIFT);
	shift = LEVEL_BITS * level;
	hang(pool, level << LEVEL_BITS | (uint32_t)(tick >> shift & (USH_WHEEL_SLOTS - 1)), index);
}

void ush_wheel_start(struct ush_wheel *wheel, uint64_t now_ns)
{
	USH_ASSERT(wheel->count == 0);
	wheel->tick = now_ns >> USH_WHEEL_TICK_BITS;
}

void ush_wheel_add(struct ush_hold_pool *pool, uint32_t index)
{
	USH_ASSERT(pool->lines[index].wheel_prev == 0);
	hang_by_tick(pool, index, deadline_tick(&pool->lines[index]));
	pool->wheel.count++;
}

void ush_wheel_again(struct ush_hold_pool *pool, uint32_t index, uint32_t ticks)
{
	USH_ASSERT(pool->lines[index].wheel_prev == 0);
	hang_by_tick(pool, index, pool->wheel.tick + ticks);
	pool->wheel.count++;
}

static void unhang(struct ush_hold_pool *pool, uint32_t index)
{
	struct ush_hold *hold = &pool->lines[index];

	if ((hold->wheel_prev & SLOT_BIT) != 0)
		*slot_head(&pool->wheel, hold->wheel_prev) = hold->wheel_next;
	else
		pool->lines[hold->wheel_prev].wheel_next = hold->wheel_next;
	if (hold->wheel_next != USH_HOLD_NONE)
		pool->lines[hold->wheel_next].wheel_prev = hold->wheel_prev;
	hold->wheel_next = 0;
	hold->wheel_prev = 0;
}

bool ush_wheel_remove(struct ush_hold_pool *pool, uint32_t index)
{
	if (pool->lines[index].wheel_prev == 0)
		return false;
	unhang(pool, index);
	USH_ASSERT(pool->wheel.count > 0);
	pool->wheel.count--;
	return true;
}

/* Moves every line of a higher level's slot to where it belongs now. */
static bool cascade(struct ush_hold_pool *pool, uint32_t level, uint32_t *work)
{
	struct ush_wheel *wheel = &pool->wheel;
	uint32_t slot = (uint32_t)(wheel->tick >> (LEVEL_BITS * level)) & (USH_WHEEL_SLOTS - 1);
	uint32_t *head = &wheel->head[level][slot];

	while (*head != USH_HOLD_NONE) {
		uint32_t index = *head;
		uint64_t tick = deadline_tick(&pool->lines[index]);

		if (*work == 0)
			return false;
		(*work)--;
		unhang(pool, index);
		if (tick <= wheel->tick)
			hang(pool, DUE_SLOT, index);
		else
			hang_by_tick(pool, index, tick);
	}
	return true;
}

/* Enters the next tick: brings down what higher levels have for it, and makes its slot the due
 * list. ret: false when the work ran out; called again, it goes on where it stopped. */
static bool enter_tick(struct ush_hold_pool *pool, uint32_t *work)
{
	struct ush_wheel *wheel = &pool->wheel;

	for (uint32_t level = USH_WHEEL_LEVELS - 1; level > 0; level--) {
		uint64_t below = wheel->tick & ((1ull << (LEVEL_BITS * level)) - 1);
		if (below == 0 && !cascade(pool, level, work))
			return false;
	}
	uint32_t *head = &wheel->head[0][wheel->tick & (USH_WHEEL_SLOTS - 1)];
	while (*head != USH_HOLD_NONE) {
		uint32_t index = *head;
		if (*work == 0)
			return false;
		(*work)--;
		unhang(pool, index);
		hang(pool, DUE_SLOT, index);
	}
	return true;
}

uint32_t ush_wheel_due(struct ush_hold_pool *pool, uint64_t now_ns, uint32_t *work)
{
	struct ush_wheel *wheel = &pool->wheel;
	uint64_t now_tick = now_ns >> USH_WHEEL_TICK_BITS;

	if (wheel->count == 0) {
		/* Nothing hangs: time may jump. */
		if (now_tick > wheel->tick)
			wheel->tick = now_tick;
		return USH_HOLD_NONE;
	}
	for (;;) {
		/* The slots of the current tick may not be drained yet. */
		if (!enter_tick(pool, work))
			break;
		if (wheel->due != USH_HOLD_NONE || wheel->tick >= now_tick || *work == 0)
			break;
		(*work)--;
		wheel->tick++;
	}
	if (wheel->due == USH_HOLD_NONE)
		return USH_HOLD_NONE;
	uint32_t index = wheel->due;
	unhang(pool, index);
	wheel->count--;
	return index;
}
