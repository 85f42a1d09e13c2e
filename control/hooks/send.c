/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender: of each endpoint one delivery at a time, in the order of the changes' numbers.
 *
 * A delivery is taken with a mark in its endpoint's row; the next process takes the marks of one
 * that was killed away. What was not surely noted is sent again: at least once, with the same
 * number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "fetch/fetch.h"
#include "hooks/internal.h"

#define TIMEOUT_MS 10000u
#define ANSWER_BYTES_MAX 65536u

/* A delivery under way. */
struct sending {
	struct hooks_end end; /* what its job is given: first */
	struct ush_hooks *hooks;
	struct event *again; /* notes it once more, if the database could not */
};

struct looking {
	struct hooks_take take; /* what its job is given: first */
	struct ush_hooks *hooks;
};

struct dropping {
	int64_t before_us; /* what its job is given: first */
	struct ush_hooks *hooks;
};
static_assert(offsetof(struct sending, end) == 0 && offsetof(struct looking, take) == 0 &&
		      offsetof(struct dropping, before_us) == 0,
	"a job and its end are given one pointer");

/* ---- what came of a delivery ---- */

static void sending_free(struct sending *sending)
{
	struct ush_hooks *hooks = sending->hooks;

	if (sending->again != NULL)
		event_free(sending->again);
	free(sending->end.item.data);
	explicit_bzero(sending, sizeof(*sending));
	free(sending);
	hooks->sending--;
	hooks_release(hooks);
}

static void note(struct sending *sending);

static void note_again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	note(context);
}

static void noted(void *context, int result)
{
	static const struct timeval second = {1, 0};
	struct sending *sending = context;
	struct ush_hooks *hooks = sending->hooks;

	if (hooks->closed) {
		sending_free(sending);
		return;
	}
	/* Forgotten, the endpoint would stay taken: so it is noted until it is. */
	if (result != 0) {
		ush_core_log(USH_CORE_ERROR, "hooks", "cannot note what came of a delivery", "hook",
			sending->end.item.hook, "error", ush_error_text(result), NULL);
		if (sending->again == NULL)
			sending->again = evtimer_new(hooks->core->base, note_again, sending);
		USH_ASSERT(sending->again != NULL);
		event_add(sending->again, &second);
		return;
	}
	sending_free(sending);
	hooks_look(hooks);
}

static void note(struct sending *sending)
{
	if (sending->hooks->closed)
		sending_free(sending);
	else
		ush_db_run(sending->hooks->core->db, USH_DB_WRITE, hooks_end_job, noted,
			&sending->end);
}

static void sent(void *context, const struct ush_fetch_result *result)
{
	static const struct ush_key key = {0x7265747279, 0x686f6f6b73};
	struct sending *sending = context;
	struct hooks_end *end = &sending->end;
	struct hooks_item *item = &end->item;
	char number[24], status[24];
	uint64_t chance;

	end->now_us = ush_core_now_us();
	end->status = result->result == 0 ? result->status : 0;
	end->good = end->status >= 200 && end->status < 300;
	end->due_us = 0;
	if (!end->good) {
		item->failures++;
		if (item->failing_us == 0)
			item->failing_us = end->now_us;
		chance = ush_siphash(&key, item->hook, strlen(item->hook));
		end->due_us = end->now_us + hooks_back_off(item->failures,
						    ush_mix64(chance ^ (uint64_t)end->now_us));
		end->give_up = end->now_us - item->failing_us >= HOOKS_GIVE_UP_US;
		snprintf(number, sizeof(number), "%" PRId64, item->number);
		snprintf(status, sizeof(status), "%" PRId64, end->status);
		ush_core_log(USH_CORE_WARN, "hooks",
			end->give_up ? "an endpoint is disabled" : "not delivered yet", "hook",
			item->hook, "number", number, "status", status, NULL);
	}
	note(sending);
}

static void start(struct sending *sending)
{
	const struct hooks_item *item = &sending->end.item;
	char signature[HOOKS_SIGNATURE_BYTES], header[HOOKS_SIGNATURE_BYTES + 32];
	char *body = hooks_body(item);
	const char *const headers[] = {"Content-Type: application/json", header, NULL};
	const struct ush_fetch_request request = {.method = "POST",
		.url = item->url,
		.headers = headers,
		.body = body,
		.bytes = strlen(body),
		.timeout_ms = TIMEOUT_MS,
		.answer_bytes_max = ANSWER_BYTES_MAX,
		.public_only = !sending->hooks->allow_private};

	hooks_sign(
		item->secret, item->previous, ush_core_now_us() / HOOKS_SECOND_US, body, signature);
	snprintf(header, sizeof(header), "Usher-Signature: %s", signature);
	ush_fetch_start(sending->hooks->core->fetch, &request, sent, sending);
	free(body);
}

/* ---- looking ---- */

static void dropped(void *context, int result)
{
	struct dropping *dropping = context;
	struct ush_hooks *hooks = dropping->hooks;

	/* What could not be dropped now is in an hour. */
	(void)result;
	free(dropping);
	hooks_release(hooks);
}

static void drop_old(struct ush_hooks *hooks, int64_t now_us)
{
	struct dropping *dropping;

	if (now_us - hooks->dropped_us < HOOKS_HOUR_US)
		return;
	hooks->dropped_us = now_us;
	dropping = malloc(sizeof(*dropping));
	USH_ASSERT(dropping != NULL);
	*dropping = (struct dropping){.before_us = now_us - HOOKS_KEEP_US, .hooks = hooks};
	hooks->under_way++;
	ush_db_run(hooks->core->db, USH_DB_WRITE, hooks_drop_job, dropped, dropping);
}

static void send_all(struct ush_hooks *hooks, struct hooks_take *take)
{
	for (uint32_t i = 0; i < take->count; i++) {
		struct sending *sending = calloc(1, sizeof(*sending));

		USH_ASSERT(sending != NULL);
		sending->hooks = hooks;
		sending->end.item = take->items[i];
		hooks->under_way++;
		hooks->sending++;
		start(sending);
	}
}

static void looked(void *context, int result)
{
	struct looking *looking = context;
	struct ush_hooks *hooks = looking->hooks;
	struct hooks_take *take = &looking->take;

	hooks->looking = false;
	if (hooks->closed || result != 0) {
		/* Taken and closed: the next start takes the marks away. */
		for (uint32_t i = 0; i < take->count; i++)
			free(take->items[i].data);
	} else {
		send_all(hooks, take);
		drop_old(hooks, take->now_us);
		if (hooks->look_again || take->more)
			hooks_look(hooks);
	}
	explicit_bzero(looking, sizeof(*looking));
	free(looking);
	hooks_release(hooks);
}

void hooks_look(struct ush_hooks *hooks)
{
	struct looking *looking;

	hooks->look_again = hooks->looking;
	if (hooks->looking || hooks->closed || hooks->sending >= HOOKS_BATCH)
		return;
	looking = calloc(1, sizeof(*looking));
	USH_ASSERT(looking != NULL);
	looking->hooks = hooks;
	looking->take.now_us = ush_core_now_us();
	looking->take.most = HOOKS_BATCH - hooks->sending;
	hooks->looking = true;
	hooks->under_way++;
	ush_db_run(hooks->core->db, USH_DB_WRITE, hooks_take_job, looked, looking);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	hooks_look(context);
}

int hooks_send_open(struct ush_hooks *hooks, struct ush_message *message)
{
	static const struct timeval second = {1, 0};
	int ret = ush_db_run_now(hooks->core->db, USH_DB_WRITE, hooks_start_job, hooks);

	if (ret != 0) {
		ush_message_set(message, "the endpoints: %s", ush_error_text(ret));
		return ret;
	}
	hooks->timer = event_new(hooks->core->base, -1, EV_PERSIST, on_timer, hooks);
	USH_ASSERT(hooks->timer != NULL);
	event_add(hooks->timer, &second);
	return 0;
}
