/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look: in one job, keep the turn and take what is due. Send each. Note each, and look again.
 *
 * Failure modes: what was taken by a process that was killed is taken again by whoever has the next
 * turn. What cannot be noted is noted again each second: forgotten, it would be sent again, or
 * never.
 */
#include "sender/sender.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sender/turn.h"

#define SECOND_US 1000000ll
#define HOUR_US (3600 * SECOND_US)
#define LOOK_US SECOND_US

const struct ush_db_step ush_sender_schema[] = {
	{"sender", 1,
		"CREATE TABLE sender_turns(name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL,"
		" turn INTEGER NOT NULL, beat INTEGER NOT NULL) STRICT;",
		NULL},
	{NULL, 0, NULL, NULL},
};

struct ush_sender {
	const struct ush_core *core;
	const struct ush_sender_kind *kind;
	void *context;
	struct event *timer;
	struct turn turn;
	uint32_t under_way; /* jobs and deliveries, and 1 until it is closed */
	uint32_t sending;
	bool ours;
	bool looking;
	bool look_again;
	bool closed; /* freed when nothing is under way any more */
	int64_t dropped_us;
};

struct ush_sender_delivery {
	struct ush_sender *sender;
	struct event *again; /* notes it once more, if the database could not */
	_Alignas(max_align_t) uint8_t item[];
};

struct looking {
	struct ush_sender *sender;
	struct ush_sender_take take;
	bool ours;
	_Alignas(max_align_t) uint8_t items[];
};

static void release(struct ush_sender *sender)
{
	sender->under_way--;
	if (!sender->closed || sender->under_way > 0)
		return;
	turn_close(&sender->turn);
	sender->kind->closed(sender->context);
	free(sender);
}

static void arm(struct ush_sender *sender, int64_t wait_us)
{
	wait_us = wait_us < 0 ? 0 : wait_us > LOOK_US ? LOOK_US : wait_us;
	event_add(sender->timer,
		&(struct timeval){.tv_sec = wait_us / SECOND_US, .tv_usec = wait_us % SECOND_US});
}

/* ---- what came of a delivery ---- */

static void delivery_free(struct ush_sender_delivery *delivery)
{
	struct ush_sender *sender = delivery->sender;

	if (delivery->again != NULL)
		event_free(delivery->again);
	sender->kind->clear(delivery->item);
	/* It may have held a secret. */
	explicit_bzero(delivery->item, sender->kind->item_bytes);
	free(delivery);
	sender->sending--;
	release(sender);
}

static void note_again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	ush_sender_sent(context);
}

static void noted(void *context, int result)
{
	static const struct timeval second = {1, 0};
	struct ush_sender_delivery *delivery = context;
	struct ush_sender *sender = delivery->sender;

	/* Closed, this frees the sender. */
	if (sender->closed) {
		delivery_free(delivery);
		return;
	}
	if (result != 0) {
		ush_core_log(USH_CORE_ERROR, sender->kind->name,
			"cannot note what came of something sent", "error", ush_error_text(result),
			NULL);
		if (delivery->again == NULL)
			delivery->again = evtimer_new(sender->core->base, note_again, delivery);
		USH_ASSERT(delivery->again != NULL);
		event_add(delivery->again, &second);
		return;
	}
	delivery_free(delivery);
	ush_sender_look(sender);
}

static int end_job(struct ush_db_conn *conn, void *context)
{
	struct ush_sender_delivery *delivery = context;

	return delivery->sender->kind->end(conn, delivery->item);
}

void ush_sender_sent(struct ush_sender_delivery *delivery)
{
	if (delivery->sender->closed)
		delivery_free(delivery);
	else
		ush_db_run(delivery->sender->core->db, USH_DB_WRITE, end_job, noted, delivery);
}

int64_t ush_sender_back_off(int64_t first_us, int64_t failures, uint64_t chance)
{
	int64_t wait_us = first_us;

	for (int64_t i = 1; i < failures && wait_us < HOUR_US; i++)
		wait_us *= 2;
	if (wait_us > HOUR_US)
		wait_us = HOUR_US;
	return wait_us - wait_us / 4 + (int64_t)(chance % (uint64_t)(wait_us / 2 + 1));
}

/* ---- looking ---- */

static int drop_job(struct ush_db_conn *conn, void *context)
{
	struct ush_sender *sender = context;

	return sender->kind->drop(conn, ush_core_now_us(), sender->context);
}

static void dropped(void *context, int result)
{
	/* What could not be dropped now is in an hour. */
	(void)result;
	release(context);
}

static void drop_old(struct ush_sender *sender, int64_t now_us)
{
	if (now_us - sender->dropped_us < HOUR_US)
		return;
	sender->dropped_us = now_us;
	sender->under_way++;
	ush_db_run(sender->core->db, USH_DB_WRITE, drop_job, dropped, sender);
}

static uint8_t *item_of(struct looking *looking, uint32_t i)
{
	return looking->items + (size_t)i * looking->sender->kind->item_bytes;
}

static void clear_all(struct looking *looking)
{
	for (uint32_t i = 0; i < looking->take.count; i++)
		looking->sender->kind->clear(item_of(looking, i));
	looking->take.count = 0;
	explicit_bzero(
		looking->items, (size_t)looking->take.most * looking->sender->kind->item_bytes);
}

static int look_job(struct ush_db_conn *conn, void *context)
{
	struct looking *looking = context;
	struct ush_sender *sender = looking->sender;
	struct ush_sender_take *take = &looking->take;

	/* It may run again. */
	clear_all(looking);
	take->more = false;
	take->next_us = 0;
	looking->ours = false;
	take->turn = turn_hold(conn, &sender->turn, &take->fresh);
	if (take->turn < 0)
		return (int)take->turn;
	looking->ours = take->turn != 0;
	/* A new turn frees marks, whether there is room or not. */
	if (!looking->ours || (take->most == 0 && !take->fresh))
		return ush_db_error(conn, NULL);
	return sender->kind->take(conn, take, looking->items, sender->context);
}

static void send_all(struct ush_sender *sender, struct looking *looking)
{
	const size_t bytes = sender->kind->item_bytes;

	for (uint32_t i = 0; i < looking->take.count; i++) {
		struct ush_sender_delivery *delivery = calloc(1, sizeof(*delivery) + bytes);

		USH_ASSERT(delivery != NULL);
		delivery->sender = sender;
		memcpy(delivery->item, item_of(looking, i), bytes);
		sender->under_way++;
		sender->sending++;
		sender->kind->start(delivery, delivery->item, sender->context);
	}
	/* They have moved. */
	looking->take.count = 0;
}

static void looked_well(struct ush_sender *sender, struct looking *looking)
{
	const struct ush_sender_take *take = &looking->take;

	if (looking->ours != sender->ours)
		ush_core_log(USH_CORE_INFO, sender->kind->name,
			looking->ours ? "this process sends" : "another process sends", NULL);
	sender->ours = looking->ours;
	arm(sender, take->next_us == 0 ? LOOK_US : take->next_us - take->now_us);
	send_all(sender, looking);
	if (sender->ours)
		drop_old(sender, take->now_us);
	if (sender->look_again || (take->more && take->most != 0))
		ush_sender_look(sender);
}

static void looked(void *context, int result)
{
	struct looking *looking = context;
	struct ush_sender *sender = looking->sender;

	sender->looking = false;
	/* From here the turn counts as begun. What was taken and is not sent, as this process ends,
	 * the next turn frees. */
	if (result == 0 && looking->take.turn > 0)
		sender->turn.mine = looking->take.turn;
	if (!sender->closed && result == 0)
		looked_well(sender, looking);
	else if (!sender->closed)
		arm(sender, SECOND_US);
	clear_all(looking);
	free(looking);
	release(sender);
}

void ush_sender_look(struct ush_sender *sender)
{
	const struct ush_sender_kind *kind = sender->kind;
	uint32_t most = kind->most - sender->sending;
	struct looking *looking;

	sender->look_again = sender->looking;
	if (sender->looking || sender->closed)
		return;
	/* With none to take it keeps the turn. */
	looking = calloc(1, sizeof(*looking) + (size_t)most * kind->item_bytes);
	USH_ASSERT(looking != NULL);
	looking->sender = sender;
	looking->take.now_us = ush_core_now_us();
	looking->take.most = most;
	sender->looking = true;
	sender->under_way++;
	ush_db_run(sender->core->db, USH_DB_WRITE, look_job, looked, looking);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct ush_sender *sender = context;

	(void)fd;
	(void)what;
	/* So that it goes on if nothing comes of looking. */
	arm(sender, LOOK_US);
	ush_sender_look(sender);
}

/* ---- life ---- */

struct ush_sender *ush_sender_open(
	const struct ush_core *core, const struct ush_sender_kind *kind, void *context)
{
	struct ush_sender *sender = calloc(1, sizeof(*sender));

	USH_ASSERT(sender != NULL);
	sender->core = core;
	sender->kind = kind;
	sender->context = context;
	/* Released by close. */
	sender->under_way = 1;
	turn_open(&sender->turn, core, kind->name);
	sender->timer = evtimer_new(core->base, on_timer, sender);
	USH_ASSERT(sender->timer != NULL);
	arm(sender, 0);
	return sender;
}

bool ush_sender_is_closed(const struct ush_sender *sender)
{
	return sender->closed;
}

void ush_sender_close(struct ush_sender *sender)
{
	sender->closed = true;
	event_free(sender->timer);
	release(sender);
}
