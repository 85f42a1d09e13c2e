/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent: of each endpoint one delivery at a time, in the order of the changes' numbers.
 *
 * A delivery is taken with the number of the sender's turn in its endpoint's row; the next turn
 * frees what one that is over has taken. What was not surely noted is sent again: at least once,
 * with the same number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch.h"
#include "hooks/internal.h"

#define TIMEOUT_MS 10000u
#define ANSWER_BYTES_MAX 65536u

/* A delivery under way. */
struct sending {
	struct hooks_end end;
	struct ush_sender_delivery *delivery;
};

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
		end->due_us = end->now_us + ush_sender_back_off(HOOKS_SECOND_US, item->failures,
						    ush_mix64(chance ^ (uint64_t)end->now_us));
		end->give_up = end->now_us - item->failing_us >= HOOKS_GIVE_UP_US;
		snprintf(number, sizeof(number), "%" PRId64, item->number);
		snprintf(status, sizeof(status), "%" PRId64, end->status);
		ush_core_log(USH_CORE_WARN, "hooks",
			end->give_up ? "an endpoint is disabled" : "not delivered yet", "hook",
			item->hook, "number", number, "status", status, NULL);
	}
	ush_sender_sent(sending->delivery);
}

static void start_delivery(struct ush_sender_delivery *delivery, void *of, void *context)
{
	const struct ush_hooks *hooks = context;
	struct sending *sending = of;
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
		.public_only = !hooks->allow_private};

	sending->delivery = delivery;
	hooks_sign(
		item->secret, item->previous, ush_core_now_us() / HOOKS_SECOND_US, body, signature);
	snprintf(header, sizeof(header), "Usher-Signature: %s", signature);
	ush_fetch_start(hooks->core->fetch, &request, sent, sending);
	free(body);
}

/* ---- jobs ---- */

static int take_deliveries(
	struct ush_db_conn *conn, struct ush_sender_take *take, void *items, void *context)
{
	struct sending *sendings = items;
	struct hooks_item found[HOOKS_BATCH];
	uint32_t count = 0;
	int ret = hooks_take(conn, context, take, found, &count);

	for (uint32_t i = 0; i < count; i++)
		sendings[take->count++].end.item = found[i];
	explicit_bzero(found, sizeof(found));
	return ret;
}

static int end_delivery(struct ush_db_conn *conn, void *item)
{
	const struct sending *sending = item;

	return hooks_end(conn, &sending->end);
}

static int drop_old(struct ush_db_conn *conn, int64_t now_us, void *context)
{
	(void)context;
	return hooks_drop(conn, now_us - HOOKS_KEEP_US);
}

static void clear_delivery(void *item)
{
	struct sending *sending = item;

	free(sending->end.item.data);
	sending->end.item.data = NULL;
}

static void sender_closed(void *context)
{
	hooks_release(context);
}

static const struct ush_sender_kind kind = {.name = "hooks",
	.most = HOOKS_BATCH,
	.item_bytes = sizeof(struct sending),
	.take = take_deliveries,
	.start = start_delivery,
	.end = end_delivery,
	.drop = drop_old,
	.clear = clear_delivery,
	.closed = sender_closed};

void hooks_send_open(struct ush_hooks *hooks)
{
	hooks->under_way++;
	hooks->sender = ush_sender_open(hooks->core, &kind, hooks);
}
