/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's control of a waiting room: one message to usherd for each action, then a line in
 * the audit log, then the answer. Seeds of draws are made here and kept in files until the draw.
 *
 * Failure modes: usherd is busy with another draw or key: asked again for three seconds. It does
 * not answer: 503, and the same action may be sent again: what is done already says so by the
 * phase.
 */
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

#include "entry/internal.h"
#include "room/draw_file.h"

#define ROLES (1u << USH_ROLE_OPERATOR)
#define SEED_BYTES 32u
#define SLOW_PLACES 1000u

struct order {
	struct ush_entry *entry;
	struct ush_http_request *request;
	struct event *again;
	struct ush_who who;
	const char *action;
	uint32_t event;
	uint32_t tries;
	struct ush_reply reply;
	char object[24];
	struct {
		struct ush_request head;
		struct ush_extension_header extension;
		struct ush_room_open body;
	} message;
};

/* ---- the end ---- */

static int audit_job(struct ush_db_conn *conn, void *context)
{
	const struct order *order = context;

	ush_people_audit(conn, &order->who, "queue", order->object, order->action);
	return ush_db_error(conn, NULL);
}

static void audited(void *context, int result)
{
	struct order *order = context;

	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "entry", "an action is not in the audit log", "action",
			order->action, "event", order->object, "error", ush_error_text(result),
			NULL);
	ush_http_answer_json(order->request, 200,
		json_pack("{s:s, s:I, s:I, s:I}", "action", order->action, "event",
			(json_int_t)order->event, "sequence", (json_int_t)order->reply.sequence,
			"places", (json_int_t)order->reply.amount));
	if (order->again != NULL)
		event_free(order->again);
	free(order);
}

static void order_drop(struct order *order)
{
	if (order->again != NULL)
		event_free(order->again);
	free(order);
}

/* ---- asking usherd ---- */

static void order_send(struct order *order);

static void order_again(evutil_socket_t fd, short what, void *context)
{
	struct order *order = context;
	struct ush_entry *entry = order->entry;

	(void)fd;
	(void)what;
	entry->pending--;
	order_send(order);
}

static void order_answered(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct order *order = context;
	bool busy = result == 0 &&
		    (reply->status == USH_STATUS_RETRY || reply->status == USH_STATUS_BUSY);

	(void)bytes;
	if (!entry_call_over(order->entry)) {
		entry_not_ready(order->request, "usherd");
		order_drop(order);
		return;
	}
	if (busy && ++order->tries < ENTRY_TRIES) {
		if (order->again == NULL)
			order->again = evtimer_new(order->entry->core->base, order_again, order);
		USH_ASSERT(order->again != NULL);
		order->entry->pending++;
		evtimer_add(order->again, &(struct timeval){.tv_usec = ENTRY_AGAIN_MS * 1000});
		return;
	}
	if (result != 0 || busy) {
		entry_not_ready(order->request, "an answer of the box that sells this event");
		order_drop(order);
		return;
	}
	if (reply->status != USH_STATUS_OK) {
		entry_refuse(order->request, reply);
		order_drop(order);
		return;
	}
	order->reply = *reply;
	if (order->entry->by_event[order->event] != NULL)
		entry_room_ask(order->entry->by_event[order->event]);
	ush_db_run(order->entry->core->db, USH_DB_WRITE, audit_job, audited, order);
}

static void order_send(struct order *order)
{
	order->entry->pending++;
	ush_link_call(order->entry->core->link, &order->message.head, -1, ENTRY_CALL_MS,
		order_answered, order);
}

/* ---- actions ---- */

static bool bad(struct ush_http_request *request, const char *what)
{
	ush_http_problem(request, 422, "bad_queue_action", NULL, "%s", what);
	return false;
}

static bool number_in(const json_t *body, const char *key, uint64_t least, uint64_t most,
	uint64_t none, uint64_t *value)
{
	const json_t *given = json_object_get(body, key);

	*value = none;
	if (given == NULL)
		return none >= least;
	*value = (uint64_t)json_integer_value(given);
	return json_is_integer(given) && json_integer_value(given) >= 0 && *value >= least &&
	       *value <= most;
}

/* The seed of an event's draw, which is made if it is not there. err: with a message. */
static int seed_of(const struct ush_entry *entry, uint32_t event, bool make,
	uint8_t seed[SEED_BYTES], struct ush_message *message)
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
		if (RAND_bytes(seed, SEED_BYTES) != 1)
			goto failed;
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		good = fd >= 0 && write(fd, seed, SEED_BYTES) == SEED_BYTES && fsync(fd) == 0;
	} else {
		good = fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 077) == 0 &&
		       read(fd, seed, SEED_BYTES) == SEED_BYTES;
	}
	if (fd >= 0 && close(fd) == 0 && good)
		return 0;
failed:
	ush_message_set(message,
		"%s: the seed cannot be had: it must be a file of %u bytes with mode 0600", path,
		SEED_BYTES);
	return -USH_EACCES;
}

static bool fill_open(struct order *order, const json_t *body)
{
	const json_t *beacon = json_object_get(body, "beacon");
	const char *source = json_string_value(json_object_get(beacon, "source"));
	uint64_t users, cap, devices, places, round;
	struct ush_room_open *open = &order->message.body;
	uint8_t seed[SEED_BYTES];
	struct ush_message message;

	if (!number_in(body, "users", 1, UINT32_MAX, 0, &users) ||
		!number_in(body, "cap", 0, 60000000, USH_ROOM_NO_CAP, &cap) ||
		!number_in(body, "device_users", 0, UINT32_MAX, 4, &devices) ||
		!number_in(body, "slow_places", 0, UINT32_MAX, SLOW_PLACES, &places) ||
		!number_in(beacon, "round", 0, INT64_MAX, 0, &round) || source == NULL ||
		strlen(source) >= sizeof(open->source))
		return bad(order->request,
			"open wants users, beacon {source, round}; and may have cap, device_users, slow_places");
	if (seed_of(order->entry, order->event, true, seed, &message) != 0) {
		ush_core_log(USH_CORE_ERROR, "entry", message.text, NULL);
		entry_not_ready(order->request, "a seed of the draw");
		return false;
	}
	*open = (struct ush_room_open){.round = round,
		.users = (uint32_t)users,
		.device_users = (uint32_t)devices,
		.slow_places = (uint32_t)places,
		.cap = (uint32_t)cap,
		.source_bytes = (uint8_t)strlen(source)};
	memcpy(open->source, source, strlen(source));
	ush_draw_seed_hash(order->event, seed, open->seed_hash);
	OPENSSL_cleanse(seed, sizeof(seed));
	order->message.head.arg = USH_ROOM_ACTION_OPEN;
	order->message.extension = (struct ush_extension_header){.type = USH_EXTENSION_ROOM_OPEN,
		.size = sizeof(order->message.extension) + sizeof(*open),
		.value = 1};
	order->message.head.extension_count = 1;
	order->message.head.size = sizeof(order->message);
	return true;
}

static bool fill_rate(struct order *order, const json_t *body)
{
	uint64_t rate;

	if (json_is_null(json_object_get(body, "per_minute")))
		rate = USH_ROOM_NO_CAP;
	else if (json_object_get(body, "per_minute") == NULL ||
		 !number_in(body, "per_minute", 0, 60000000, 0, &rate))
		return bad(order->request,
			"rate wants per_minute: people a minute, or null for no bound");
	order->message.head.arg = USH_ROOM_ACTION_SET | 1u << 8 | rate << 32;
	return true;
}

static bool fill(struct order *order, const json_t *body)
{
	static const struct {
		const char *name;
		uint64_t arg; /* 0: it wants more */
	} actions[] = {
		{"open", 0},
		{"close", USH_ROOM_ACTION_CLOSE},
		{"rate", 0},
		{"pause", USH_ROOM_ACTION_SET | 1u << 9 | 1u << 10},
		{"resume", USH_ROOM_ACTION_SET | 1u << 9},
		{"key", USH_ROOM_ACTION_KEY},
	};
	const char *name = json_string_value(json_object_get(body, "action"));

	for (size_t i = 0; name != NULL && i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(name, actions[i].name) != 0)
			continue;
		order->action = actions[i].name;
		order->message.head.arg = actions[i].arg;
		if (strcmp(name, "open") == 0)
			return fill_open(order, body);
		return strcmp(name, "rate") == 0 ? fill_rate(order, body) : true;
	}
	return bad(order->request, "action: open, close, rate, pause, resume, key");
}

void entry_post_admin(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, ROLES);
	struct order *order;
	uint64_t event;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	order = calloc(1, sizeof(*order));
	if (order == NULL) {
		entry_not_ready(request, "memory");
		return;
	}
	*order = (struct order){.entry = entry,
		.request = request,
		.who = *who,
		.event = (uint32_t)event,
		.message.head = {.magic = USH_REQUEST_MAGIC,
			.version = USH_VERSION,
			.op = USH_OP_ROOM_CONTROL,
			.size = sizeof(struct ush_request),
			.event = (uint32_t)event}};
	snprintf(order->object, sizeof(order->object), "event %u", order->event);
	if (!fill(order, ush_http_json(request))) {
		free(order);
		return;
	}
	order_send(order);
}

/* ---- keys of access tokens ---- */

struct rotated {
	struct ush_http_request *request;
	struct ush_who who;
	char kid[24];
};

static int rotated_job(struct ush_db_conn *conn, void *context)
{
	const struct rotated *rotated = context;

	ush_people_audit(conn, &rotated->who, "access-keys", rotated->kid, "a new key");
	return ush_db_error(conn, NULL);
}

static void rotated_done(void *context, int result)
{
	struct rotated *rotated = context;

	if (result != 0)
		ush_core_log(USH_CORE_ERROR, "entry", "a new key is not in the audit log", "error",
			ush_error_text(result), NULL);
	ush_http_answer_json(rotated->request, 201,
		json_pack("{s:s, s:I}", "kid", rotated->kid, "signs_in_s",
			(json_int_t)(USH_JWT_AHEAD_US / 1000000)));
	free(rotated);
}

void entry_post_rotate(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, ROLES);
	struct ush_message message;
	struct rotated *rotated;

	if (who == NULL)
		return;
	rotated = calloc(1, sizeof(*rotated));
	if (rotated == NULL || ush_jwt_keys_rotate(&entry->keys, entry->folder, entry->alg,
				       ush_core_now_us(), &message) != 0) {
		free(rotated);
		entry_not_ready(request, "a new key");
		return;
	}
	entry_keys_changed(entry);
	*rotated = (struct rotated){.request = request, .who = *who};
	memcpy(rotated->kid, entry->keys.key[entry->keys.count - 1].kid, sizeof(rotated->kid));
	ush_db_run(entry->core->db, USH_DB_WRITE, rotated_job, rotated_done, rotated);
}
