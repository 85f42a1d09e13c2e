/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender: take what is due, hand it to the relay, note what came of it.
 *
 * A mail is taken with a lease, so a process that was killed leaves it to the next one. When the
 * relay's answer is lost (time out, kill -9 between its "250" and our note) the mail is sent again:
 * at least once, with the same Message-ID, by which many mailboxes fold the copies. Nothing is
 * sent twice otherwise.
 *
 * 5xx ends a mail, unless it says that we are not let in (that is ours to mend); everything else
 * waits, from [mail] retry_ms doubling up to an hour, and is given up after [mail] give_up_h.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch.h"
#include "mail/mime.h"
#include "mail/outbox.h"

#define SECOND_US 1000000ll
#define HOUR_US (3600 * SECOND_US)
#define LOOK_MAX_US (60 * SECOND_US)
#define RETRY_MAX_US HOUR_US
#define ANSWER_BYTES_MAX 65536u

struct ush_mail {
	int64_t drop_before; /* what the job of drop_old is given: first */
	const struct ush_core *core;
	struct event *timer;
	const char *relay; /* NULL: nothing is sent */
	const char *from;
	const char *from_name;
	const char *user;
	char *password;
	uint32_t timeout_ms;
	int64_t retry_us;
	int64_t give_up_us;
	int64_t keep_us;
	int64_t dropped_us; /* when old rows were last dropped */
	uint32_t under_way; /* mails taken and not noted yet, and jobs */
	uint32_t taken;
	bool looking;
	bool look_again;
	bool closed; /* freed when nothing is under way any more */
};

/* A mail that was taken. */
struct sending {
	struct ush_outbox_end end; /* what its job is given: first */
	struct ush_mail *mail;
	struct ush_outbox_item item;
	struct event *again; /* notes it once more, if the database could not */
};

struct looking {
	struct ush_outbox_claim claim; /* what its job is given: first */
	struct ush_mail *mail;
};
static_assert(offsetof(struct ush_mail, drop_before) == 0 && offsetof(struct sending, end) == 0 &&
		      offsetof(struct looking, claim) == 0,
	"a job and its end are given one pointer");

static void look(struct ush_mail *mail);

static void release(struct ush_mail *mail)
{
	mail->under_way--;
	if (!mail->closed || mail->under_way > 0)
		return;
	if (mail->password != NULL)
		explicit_bzero(mail->password, strlen(mail->password));
	free(mail->password);
	free(mail);
}

static void arm(struct ush_mail *mail, int64_t wait_us)
{
	struct timeval wait;

	if (wait_us < 0)
		wait_us = 0;
	if (wait_us > LOOK_MAX_US)
		wait_us = LOOK_MAX_US;
	wait.tv_sec = wait_us / SECOND_US;
	wait.tv_usec = wait_us % SECOND_US;
	event_add(mail->timer, &wait);
}

/* ---- what came of a mail ---- */

static void sending_free(struct sending *sending)
{
	struct ush_mail *mail = sending->mail;

	if (sending->again != NULL)
		event_free(sending->again);
	ush_outbox_item_free(&sending->item);
	free(sending);
	mail->taken--;
	release(mail);
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
	struct ush_mail *mail = sending->mail;

	/* Forgotten, it would be sent again: so it is noted until it is. The job may be repeated.
	 */
	if (result != 0 && !mail->closed) {
		ush_core_log(USH_CORE_ERROR, "mail", "cannot note what came of a mail", "error",
			ush_error_text(result), NULL);
		if (sending->again == NULL)
			sending->again = evtimer_new(mail->core->base, note_again, sending);
		USH_ASSERT(sending->again != NULL);
		event_add(sending->again, &second);
		return;
	}
	/* Closed, this frees the mail. */
	if (mail->closed) {
		sending_free(sending);
		return;
	}
	sending_free(sending);
	look(mail);
}

static void note(struct sending *sending)
{
	if (sending->mail->closed)
		sending_free(sending);
	else
		ush_db_run(sending->mail->core->db, USH_DB_WRITE, ush_outbox_end_job, noted,
			&sending->end);
}

/* ret: how long to wait after so many attempts: doubling, and a quarter more or less by the key, so
 * that not all come back at once. */
static int64_t back_off(const struct ush_mail *mail, const struct ush_outbox_item *item)
{
	static const struct ush_key key = {0x7265747279, 0x6d61696c};
	uint64_t chance = ush_siphash(&key, item->key, strlen(item->key)) + item->attempts;
	int64_t wait_us = mail->retry_us;

	for (uint32_t i = 1; i < item->attempts && wait_us < RETRY_MAX_US; i++)
		wait_us *= 2;
	if (wait_us > RETRY_MAX_US)
		wait_us = RETRY_MAX_US;
	return wait_us - wait_us / 4 + (int64_t)(ush_mix64(chance) % (uint64_t)(wait_us / 2 + 1));
}

/* Statuses that say that we, not the mail, are refused (RFC 4954, 4952). */
static bool is_ours(uint32_t status)
{
	return status == 530 || status == 534 || status == 535 || status == 538;
}

static void sent(void *context, const struct ush_fetch_result *result)
{
	struct sending *sending = context;
	struct ush_mail *mail = sending->mail;
	struct ush_outbox_end *end = &sending->end;
	char status[16], attempts[16];

	end->now_us = ush_core_now_us();
	end->status = result->status;
	if (result->result == 0 && result->status < 400)
		end->state = USH_OUTBOX_SENT;
	else if (result->result == 0 && result->status >= 500 && !is_ours(result->status))
		end->state = USH_OUTBOX_REFUSED;
	else
		end->state = USH_OUTBOX_WAITS;
	end->due_us = end->now_us + back_off(mail, &sending->item);
	if (end->state != USH_OUTBOX_SENT && !mail->closed) {
		snprintf(status, sizeof(status), "%" PRIu32, result->status);
		snprintf(attempts, sizeof(attempts), "%" PRIu32, sending->item.attempts);
		ush_core_log(USH_CORE_WARN, "mail",
			end->state == USH_OUTBOX_WAITS ? "not sent yet" : "refused by the relay",
			"mail", sending->item.key, "status", status, "attempts", attempts, NULL);
	}
	note(sending);
}

/* Unique, and the same whenever this mail is sent. */
static void make_id(
	const struct ush_mail *mail, const struct ush_outbox_item *item, char *id, size_t size)
{
	static const struct ush_key keys[2] = {{1, 0x6d6573736167652d}, {2, 0x6d6573736167652d}};
	uint64_t half[2];

	for (uint32_t i = 0; i < 2; i++)
		half[i] =
			ush_siphash_2(&keys[i], ush_siphash(&keys[i], item->key, strlen(item->key)),
				(uint64_t)item->made_us);
	snprintf(id, size, "%016" PRIx64 "%016" PRIx64 "%.36s", half[0], half[1],
		strrchr(mail->from, '@'));
}

static void start(struct sending *sending)
{
	struct ush_mail *mail = sending->mail;
	char id[96];
	struct ush_mime_head head = {.from = mail->from,
		.from_name = mail->from_name,
		.to = sending->item.to,
		.subject = sending->item.subject,
		.message_id = id,
		.date_us = sending->item.made_us};
	const char *const to[] = {sending->item.to, NULL};
	struct ush_fetch_request request = {.method = "SMTP",
		.url = mail->relay,
		.user = mail->user,
		.password = mail->password,
		.mail_from = mail->from,
		.mail_to = to,
		.timeout_ms = mail->timeout_ms,
		.answer_bytes_max = ANSWER_BYTES_MAX};
	char *text, *whole;
	size_t bytes;
	int result;

	make_id(mail, &sending->item, id, sizeof(id));
	result = ush_mime_head(&head, &text, &bytes);
	whole = result == 0 ? malloc(bytes + sending->item.bytes + 1) : NULL;
	if (whole == NULL) {
		struct ush_fetch_result failed = {
			.result = result == 0 ? -USH_ENOMEM : 0, .status = result == 0 ? 0 : 553};

		if (result == 0)
			free(text);
		sent(sending, &failed);
		return;
	}
	memcpy(whole, text, bytes);
	memcpy(whole + bytes, sending->item.body, sending->item.bytes);
	request.body = whole;
	request.bytes = bytes + sending->item.bytes;
	ush_fetch_start(mail->core->fetch, &request, sent, sending);
	free(whole);
	free(text);
}

/* ---- looking into the outbox ---- */

static void dropped(void *context, int result)
{
	/* What could not be dropped now is in an hour. */
	(void)result;
	release(context);
}

static void drop_old(struct ush_mail *mail, int64_t now_us)
{
	if (now_us - mail->dropped_us < HOUR_US)
		return;
	mail->dropped_us = now_us;
	mail->drop_before = now_us - mail->keep_us;
	mail->under_way++;
	ush_db_run(mail->core->db, USH_DB_WRITE, ush_outbox_drop_job, dropped, mail);
}

static void send_all(struct ush_mail *mail, struct ush_outbox_claim *claim)
{
	for (uint32_t i = 0; i < claim->count; i++) {
		struct sending *sending = calloc(1, sizeof(*sending));

		USH_ASSERT(sending != NULL);
		sending->mail = mail;
		sending->item = claim->items[i];
		sending->end.key = sending->item.key;
		mail->under_way++;
		mail->taken++;
		start(sending);
	}
}

static void looked(void *context, int result)
{
	struct looking *looking = context;
	struct ush_mail *mail = looking->mail;
	struct ush_outbox_claim *claim = &looking->claim;
	char count[24];

	mail->looking = false;
	if (mail->closed || result != 0) {
		for (uint32_t i = 0; i < claim->count; i++)
			ush_outbox_item_free(&claim->items[i]);
		claim->count = 0;
	}
	if (!mail->closed) {
		if (result == 0 && claim->given_up > 0) {
			snprintf(count, sizeof(count), "%" PRId64, claim->given_up);
			ush_core_log(USH_CORE_ERROR, "mail", "given up", "count", count, NULL);
		}
		arm(mail, result != 0           ? SECOND_US
			  : claim->next_us == 0 ? LOOK_MAX_US
						: claim->next_us - claim->now_us);
		send_all(mail, claim);
		drop_old(mail, claim->now_us);
		/* A full batch: there may be more; the mails under way look again as they end. */
		if (mail->look_again)
			look(mail);
	}
	free(looking);
	release(mail);
}

static void look(struct ush_mail *mail)
{
	struct looking *looking;

	mail->look_again = mail->looking;
	if (mail->looking || mail->taken >= USH_OUTBOX_BATCH)
		return;
	looking = calloc(1, sizeof(*looking));
	USH_ASSERT(looking != NULL);
	looking->mail = mail;
	looking->claim.now_us = ush_core_now_us();
	/* They go one after the other, so the last one may wait for all before it. */
	looking->claim.lease_us =
		(int64_t)mail->timeout_ms * 1000 * (USH_OUTBOX_BATCH + 1) + 60 * SECOND_US;
	looking->claim.give_up_us = looking->claim.now_us - mail->give_up_us;
	looking->claim.most = USH_OUTBOX_BATCH - mail->taken;
	mail->looking = true;
	mail->under_way++;
	ush_db_run(mail->core->db, USH_DB_WRITE, ush_outbox_claim_job, looked, looking);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct ush_mail *mail = context;

	(void)fd;
	(void)what;
	/* So that it goes on if nothing comes of looking. */
	arm(mail, LOOK_MAX_US);
	look(mail);
}

/* For those who are not given it. */
static struct ush_mail *opened;

void ush_mail_wake(struct ush_mail *mail)
{
	if (mail == NULL)
		mail = opened;
	if (mail != NULL && mail->relay != NULL && !mail->core->read_only)
		look(mail);
}

/* ---- life ---- */

/* ret: false, with a message, if the setting is no number in its range. */
static bool number(const struct ush_core *core, const char *key, uint64_t otherwise, uint64_t low,
	uint64_t high, uint64_t *value, struct ush_message *message)
{
	const char *text = core->setting(core, "mail", key);
	char *end;

	*value = otherwise;
	if (text == NULL)
		return true;
	*value = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && *value >= low && *value <= high)
		return true;
	ush_message_set(message, "mail.%s is a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
		key, low, high, text);
	return false;
}

static int read_settings(
	struct ush_mail *mail, const struct ush_core *core, struct ush_message *message)
{
	uint64_t timeout, retry, give_up, keep;
	size_t bytes;

	mail->relay = core->setting(core, "mail", "relay");
	mail->from = core->setting(core, "mail", "from");
	mail->from_name = core->setting(core, "mail", "from_name");
	mail->user = core->setting(core, "mail", "user");
	if (!number(core, "timeout_ms", 60000, 100, 600000, &timeout, message) ||
		!number(core, "retry_ms", 30000, 1, 3600000, &retry, message) ||
		!number(core, "give_up_h", 72, 1, 720, &give_up, message) ||
		!number(core, "keep_days", 30, 1, 400, &keep, message))
		return -USH_EINVAL;
	mail->timeout_ms = (uint32_t)timeout;
	mail->retry_us = (int64_t)retry * 1000;
	mail->give_up_us = (int64_t)give_up * HOUR_US;
	mail->keep_us = (int64_t)keep * 24 * HOUR_US;
	if (mail->relay == NULL)
		return 0;
	if (strncmp(mail->relay, "smtp://", 7) != 0 && strncmp(mail->relay, "smtps://", 8) != 0) {
		ush_message_set(message, "mail.relay is smtp://HOST:PORT or smtps://HOST:PORT");
		return -USH_EINVAL;
	}
	if (mail->from == NULL || !ush_mime_is_address(mail->from) ||
		(mail->from_name != NULL && !ush_mime_is_line(mail->from_name))) {
		ush_message_set(message, "mail.from is an address such as tickets@shop.example");
		return -USH_EINVAL;
	}
	if (mail->user == NULL)
		return 0;
	mail->password = core->secret(core, "mail", "password_file", &bytes, message);
	return mail->password == NULL ? -USH_EACCES : 0;
}

int ush_mail_open(struct ush_mail **mail, const struct ush_core *core, struct ush_message *message)
{
	struct ush_mail *made = calloc(1, sizeof(*made));
	int64_t now_us = ush_core_now_us();
	int result;

	if (made == NULL)
		return -USH_ENOMEM;
	made->core = core;
	/* Released by close. */
	made->under_way = 1;
	result = read_settings(made, core, message);
	if (result == 0 && !core->read_only && made->relay != NULL) {
		result = ush_db_run_now(core->db, USH_DB_WRITE, ush_outbox_start_job, &now_us);
		if (result != 0)
			ush_message_set(message, "the outbox: %s", ush_error_text(result));
		made->timer = evtimer_new(core->base, on_timer, made);
		USH_ASSERT(made->timer != NULL);
		if (result == 0)
			arm(made, 0);
	} else if (result == 0 && !core->read_only) {
		ush_core_log(
			USH_CORE_WARN, "mail", "no mail.relay: mail waits in the outbox", NULL);
	}
	if (result != 0) {
		ush_mail_close(made);
		return result;
	}
	*mail = opened = made;
	return 0;
}

void ush_mail_close(struct ush_mail *mail)
{
	if (mail == NULL)
		return;
	if (opened == mail)
		opened = NULL;
	mail->closed = true;
	if (mail->timer != NULL)
		event_free(mail->timer);
	release(mail);
}
