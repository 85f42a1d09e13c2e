/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order goes: a row of what was said, where it opens a room; the message to usherd; the places
 * of the lobby, whose root is published; a job that notes what was done and writes the audit log.
 * Seeds of draws are made here and kept in files until the draw.
 *
 * Failure modes: usherd is busy with another draw or key: asked again for three seconds. It does
 * not answer: NOT_READY, and the same order may be given again: what is done already says so by the
 * phase.
 */
#include "entry/order.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

struct order *order_new(struct ush_entry *entry, uint32_t event, const char *action)
{
	struct order *order = calloc(1, sizeof(*order));

	if (order == NULL)
		return NULL;
	*order = (struct order){.entry = entry,
		.event = event,
		.action = action,
		.plan.event = event,
		.message.head = {.magic = USH_REQUEST_MAGIC,
			.version = USH_VERSION,
			.op = USH_OP_ROOM_CONTROL,
			.size = sizeof(struct ush_request),
			.event = event}};
	snprintf(order->object, sizeof(order->object), "event %u", event);
	return order;
}

void order_drop(struct order *order)
{
	if (order->again != NULL)
		event_free(order->again);
	/* It may have had a seed. */
	explicit_bzero(order, sizeof(*order));
	free(order);
}

/* ---- the end ---- */

static void end(struct order *order, enum order_end how)
{
	order->done(order, how);
	order_drop(order);
}

static void not_ready(struct order *order, const char *missing)
{
	order->missing = missing;
	end(order, ORDER_NOT_READY);
}

/* ret: true: the entry is still there; false: the order has ended. */
static bool call_over(struct order *order)
{
	if (entry_call_over(order->entry))
		return true;
	order->missing = "usherd";
	end(order, ORDER_GONE);
	return false;
}

/* ret: 1: nobody had noted it before; 0; negative: the job fails. */
static int64_t note(struct ush_db_conn *conn, struct order *order)
{
	struct entry_plan plan = order->plan;

	plan.opened_us = plan.closed_us = plan.drawn_us = ush_core_now_us();
	if (order->wants == WANTS_PLAN)
		return entry_plan_put(conn, &plan);
	if (order->wants == WANTS_UNPLAN)
		return entry_plan_drop(conn, order->event) == 0 ? -USH_ENOENT : 1;
	if (order->wants == WANTS_ROW)
		return entry_plan_opened(conn, &plan);
	if (order->wants == WANTS_LOBBY && order->row_there)
		return entry_plan_closed(conn, &plan);
	if (order->wants == WANTS_DRAW && order->row_there)
		return entry_plan_drawn(conn, &plan);
	return 0;
}

static int audit_job(struct ush_db_conn *conn, void *context)
{
	struct order *order = context;
	char text[200], opens[32] = "", closes[32] = "";
	int64_t first = note(conn, order);

	if (first < 0)
		return (int)first;
	order->noted = first == 0;
	if (order->by_schedule && order->noted)
		return ush_db_error(conn, NULL);
	if (order->wants == WANTS_PLAN)
		entry_time_text(order->plan.opens_us, opens);
	if ((order->wants == WANTS_PLAN || order->wants == WANTS_ROW) && order->plan.closes_us != 0)
		entry_time_text(order->plan.closes_us, closes);
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s", order->action,
		order->plan.root[0] != '\0' ? " root " : "", order->plan.root,
		opens[0] != '\0' ? " opens_at " : "", opens, closes[0] != '\0' ? " closes_at " : "",
		closes, order->by_schedule && order->repeat ? " (was done)" : "");
	ush_people_audit(conn, &order->who, "queue", order->object, text);
	return ush_db_error(conn, NULL);
}

static void audited(void *context, int result)
{
	struct order *order = context;

	if (!call_over(order))
		return;
	if (result == -USH_EEXIST || result == -USH_ENOENT) {
		end(order, result == -USH_EEXIST ? ORDER_PLANNED : ORDER_NO_PLAN);
		return;
	}
	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "entry", "an action is not in the audit log", "action",
			order->action, "object", order->object, "error", ush_error_text(result),
			NULL);
	/* What only the table has is not done then. */
	if (result != 0 &&
		(order->by_schedule || order->wants == WANTS_PLAN || order->wants == WANTS_UNPLAN))
		not_ready(order, "the database");
	else
		end(order, ORDER_DONE);
}

static void audit(struct order *order)
{
	struct ush_entry *entry = order->entry;

	if (entry->by_event[order->event] != NULL)
		entry_room_ask(entry->by_event[order->event]);
	entry->pending++;
	ush_db_run(entry->core->db, USH_DB_WRITE, audit_job, audited, order);
}

/* ---- again ---- */

static void on_again(evutil_socket_t fd, short what, void *context)
{
	struct order *order = context;

	(void)fd;
	(void)what;
	if (call_over(order))
		order_begin(order);
}

/* ret: false: often enough. */
static bool later(struct order *order)
{
	if (++order->tries >= ENTRY_TRIES)
		return false;
	if (order->again == NULL)
		order->again = evtimer_new(order->entry->core->base, on_again, order);
	USH_ASSERT(order->again != NULL);
	order->entry->pending++;
	evtimer_add(order->again, &(struct timeval){.tv_usec = ENTRY_AGAIN_MS * 1000});
	return true;
}

/* ---- the places ---- */

static void take_root(struct order *order, const struct entry_lobby *lobby)
{
	for (uint32_t i = 0; i < USH_HASH_BYTES; i++)
		snprintf(order->plan.root + 2 * i, 3, "%02x", lobby->draw.root[i]);
	order->plan.places = lobby->draw.count;
	memcpy(order->plan.open.seed_hash, lobby->view.opened.seed_hash, USH_HASH_BYTES);
	order->row_there = true;
}

/* ret: false: there is no word of the lobby yet; the order has ended, or asks again. */
static bool is_told(struct order *order, uint8_t status)
{
	if (status == USH_STATUS_BUSY) {
		order->missing = "usherd";
		end(order, ORDER_GONE);
		return false;
	}
	return status != USH_STATUS_RETRY || !later(order);
}

/* The lobby is closed: its root is what is to be published. */
static void on_closed(void *context, uint8_t status, struct entry_lobby *lobby)
{
	struct order *order = context;

	if (!is_told(order, status))
		return;
	if (status == USH_STATUS_OK)
		take_root(order, lobby);
	entry_lobby_release(lobby);
	/* The schedule does not say that it is done before there is a root. */
	if (order->by_schedule && status != USH_STATUS_OK && status != USH_STATUS_NO_HOLD)
		not_ready(order, "the list of places");
	else
		audit(order);
}

static void send_message(struct order *order);

/* The places are there: they are what is drawn. */
static void on_places(void *context, uint8_t status, struct entry_lobby *lobby)
{
	struct order *order = context;
	struct ush_room_draw *draw = &order->message.body.draw;
	const struct ush_room_draw *drawn;

	if (!is_told(order, status))
		return;
	if (status != USH_STATUS_OK) {
		order->lobby_status = status;
		end(order, ORDER_NO_LOBBY);
		return;
	}
	drawn = &lobby->view.drawn;
	take_root(order, lobby);
	memcpy(draw->root, lobby->draw.root, sizeof(draw->root));
	/* Drawn before with the same value: that is the answer. */
	order->repeat = drawn->beacon_bytes == draw->beacon_bytes &&
			memcmp(drawn->beacon, draw->beacon, sizeof(draw->beacon)) == 0;
	order->reply.sequence = lobby->view.sequence;
	entry_lobby_release(lobby);
	if (order->repeat)
		audit(order);
	else
		send_message(order);
}

/* ---- asking usherd ---- */

static void refused(struct order *order, const struct ush_reply *reply)
{
	order->reply = *reply;
	end(order, ORDER_REFUSED);
}

/* Whether the event has a room, before one is planned. */
static void on_show(struct order *order, const struct ush_reply *reply)
{
	if (reply->status == USH_STATUS_OK)
		refused(order, &(struct ush_reply){.status = USH_STATUS_ROOM_PHASE});
	else if (reply->status != USH_STATUS_NO_ROOM)
		refused(order, reply);
	else
		audit(order);
}

static void on_reply(struct order *order, const struct ush_reply *reply)
{
	/* Closed before, perhaps by a request whose answer was lost. */
	order->repeat = reply->status == USH_STATUS_ROOM_PHASE && order->wants == WANTS_LOBBY &&
			reply->detail != USH_ROOM_PHASE_LOBBY;
	if (reply->status != USH_STATUS_OK && !order->repeat) {
		refused(order, reply);
		return;
	}
	order->reply = *reply;
	if (order->wants != WANTS_DRAW)
		order->plan.places = order->repeat ? 0 : (int64_t)reply->amount;
	order->sent = true;
	if (order->wants == WANTS_LOBBY)
		entry_lobby_get(order->entry, order->event, true, on_closed, order);
	else
		audit(order);
}

static void answered(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct order *order = context;
	bool busy = result == 0 &&
		    (reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY);

	(void)bytes;
	if (!call_over(order))
		return;
	if (busy && later(order))
		return;
	if (result != 0 || busy)
		not_ready(order, "an answer of the box that sells this event");
	else if (order->wants == WANTS_PLAN)
		on_show(order, reply);
	else
		on_reply(order, reply);
}

static void send_message(struct order *order)
{
	order->entry->pending++;
	ush_link_call(
		order->entry->core->link, &order->message.head, -1, ENTRY_CALL_MS, answered, order);
}

/* ---- the row ---- */

static int row_job(struct ush_db_conn *conn, void *context)
{
	const struct order *order = context;

	return entry_plan_put(conn, &order->plan);
}

static void row_done(void *context, int result)
{
	struct order *order = context;

	if (!call_over(order))
		return;
	if (result == -USH_EEXIST)
		end(order, ORDER_PLANNED);
	else if (result != 0)
		not_ready(order, "the database");
	else
		send_message(order);
}

void order_begin(struct order *order)
{
	if (order->wants == WANTS_LOBBY && (order->sent || order->found)) {
		order->repeat = order->repeat || order->found;
		entry_lobby_get(order->entry, order->event, true, on_closed, order);
	} else if (order->found || order->wants == WANTS_UNPLAN) {
		order->repeat = order->found;
		audit(order);
	} else if (order->wants == WANTS_DRAW) {
		entry_lobby_get(order->entry, order->event, true, on_places, order);
	} else if (order->wants == WANTS_ROW && !order->by_schedule) {
		order->entry->pending++;
		ush_db_run(order->entry->core->db, USH_DB_WRITE, row_job, row_done, order);
	} else {
		send_message(order);
	}
}

/* ---- what usherd is told ---- */

int entry_seed_of(const struct ush_entry *entry, uint32_t event, bool make,
	uint8_t seed[ENTRY_SEED_BYTES], struct ush_message *message)
{
	char folder[400], path[512];
	struct stat status;
	int fd;
	bool good;

	snprintf(folder, sizeof(folder), "%s/room-seeds", entry->core->state_dir);
	snprintf(path, sizeof(path), "%s/%u", folder, event);
	if (make && mkdir(folder, 0700) != 0 && errno != EEXIST)
		goto failed;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT && make) {
		if (RAND_bytes(seed, ENTRY_SEED_BYTES) != 1)
			goto failed;
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		good = fd >= 0 && write(fd, seed, ENTRY_SEED_BYTES) == ENTRY_SEED_BYTES &&
		       fsync(fd) == 0;
	} else {
		good = fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 077) == 0 &&
		       read(fd, seed, ENTRY_SEED_BYTES) == ENTRY_SEED_BYTES;
	}
	if (fd >= 0 && close(fd) == 0 && good)
		return 0;
failed:
	ush_message_set(message,
		"%s: the seed cannot be had: it must be a file of %u bytes with mode 0600", path,
		ENTRY_SEED_BYTES);
	return -USH_EACCES;
}

static void extend(struct order *order, uint8_t type, size_t bytes)
{
	order->message.extension = (struct ush_extension_header){.type = type,
		.size = (uint16_t)(sizeof(order->message.extension) + bytes),
		.value = 1};
	order->message.head.extension_count = 1;
	order->message.head.size =
		(uint16_t)(sizeof(order->message.head) + order->message.extension.size);
}

void order_open(struct order *order, const struct ush_room_open *open)
{
	order->message.head.arg = USH_ROOM_ACTION_OPEN;
	order->message.body.open = *open;
	order->plan.open = *open;
	extend(order, USH_EXTENSION_ROOM_OPEN, sizeof(*open));
	order->wants = WANTS_ROW;
}

void order_plan(struct order *order, const struct ush_room_open *open)
{
	order->message.head.op = USH_OP_ROOM_SHOW;
	order->plan.open = *open;
	order->plan.stage = ENTRY_STAGE_PLANNED;
	order->wants = WANTS_PLAN;
}

void order_unplan(struct order *order)
{
	order->wants = WANTS_UNPLAN;
}

void order_close(struct order *order)
{
	order->message.head.arg = USH_ROOM_ACTION_CLOSE;
	order->wants = WANTS_LOBBY;
}

int order_draw(struct order *order, const uint8_t *beacon, uint32_t beacon_bytes,
	struct ush_message *message)
{
	struct ush_room_draw *draw = &order->message.body.draw;

	USH_ASSERT(beacon_bytes <= sizeof(draw->beacon));
	memset(draw, 0, sizeof(*draw));
	memcpy(draw->beacon, beacon, beacon_bytes);
	draw->beacon_bytes = (uint8_t)beacon_bytes;
	order->message.head.arg = USH_ROOM_ACTION_DRAW;
	extend(order, USH_EXTENSION_ROOM_DRAW, sizeof(*draw));
	order->wants = WANTS_DRAW;
	return entry_seed_of(order->entry, order->event, false, draw->seed, message);
}
