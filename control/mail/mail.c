/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender: take what is due, hand it to the relay, note what came of it.
 *
 * A mail is taken for a turn (sender/), so a process that was killed leaves it to the next one.
 * When the relay's answer is lost (time out, kill -9 between its "250" and our note) the mail is
 * sent again: at least once, with the same Message-ID, by which many mailboxes fold the copies.
 * Nothing is sent twice otherwise.
 *
 * 5xx ends a mail, unless it says that we are not let in (that is ours to mend); everything else
 * waits, from [mail] retry_ms doubling up to an hour, and is given up after [mail] give_up_h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/fetch.h"
#include "mail/mime.h"
#include "mail/outbox.h"
#include "sender/sender.h"

#define SECOND_US 1000000ll
#define HOUR_US (3600 * SECOND_US)
#define ANSWER_BYTES_MAX 65536u
#define CA_BYTES_MAX 1048576u

struct ush_mail {
	const struct ush_core *core;
	struct ush_sender *sender; /* NULL: nothing is sent */
	const char *relay;
	const char *from;
	const char *from_name;
	const char *user;
	char *password;
	char *ca; /* certificates to trust; NULL: the system's */
	bool require_tls;
	uint32_t timeout_ms;
	int64_t retry_us;
	int64_t give_up_us;
	int64_t keep_us;
};

/* A mail that was taken. */
struct sending {
	struct ush_outbox_item item;
	struct ush_outbox_end end;
	struct ush_mail *mail;
	struct ush_sender_delivery *delivery;
};

/* ---- what came of a mail ---- */

static int end_mail(struct ush_db_conn *conn, void *item)
{
	const struct sending *sending = item;

	return ush_outbox_end(conn, &sending->item, &sending->end);
}

static int64_t back_off(const struct ush_mail *mail, const struct ush_outbox_item *item)
{
	static const struct ush_key key = {0x7265747279, 0x6d61696c};
	uint64_t chance = ush_siphash(&key, item->key, strlen(item->key)) + item->attempts;

	return ush_sender_back_off(mail->retry_us, item->attempts, ush_mix64(chance));
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
	bool closed = ush_sender_is_closed(mail->sender);
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
	if (end->state != USH_OUTBOX_SENT && !closed) {
		snprintf(status, sizeof(status), "%" PRIu32, result->status);
		snprintf(attempts, sizeof(attempts), "%" PRIu32, sending->item.attempts);
		ush_core_log(USH_CORE_WARN, "mail",
			end->state == USH_OUTBOX_WAITS ? "not sent yet" : "refused by the relay",
			"mail", sending->item.key, "status", status, "attempts", attempts, "why",
			result->error != NULL ? result->error : "", NULL);
	}
	ush_sender_sent(sending->delivery);
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

static void start_mail(struct ush_sender_delivery *delivery, void *item, void *context)
{
	struct ush_mail *mail = context;
	struct sending *sending = item;
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
		.require_tls = mail->require_tls,
		.ca = mail->ca,
		.timeout_ms = mail->timeout_ms,
		.answer_bytes_max = ANSWER_BYTES_MAX};
	char *text, *whole;
	size_t bytes;
	int result;

	sending->mail = mail;
	sending->delivery = delivery;
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

static int take_mails(
	struct ush_db_conn *conn, struct ush_sender_take *take, void *items, void *context)
{
	const struct ush_mail *mail = context;
	struct sending *sendings = items;
	struct ush_outbox_claim claim = {.now_us = take->now_us,
		/* They go one after the other, so the last one may wait for all before it. */
		.lease_us =
			(int64_t)mail->timeout_ms * 1000 * (USH_OUTBOX_BATCH + 1) + 60 * SECOND_US,
		.give_up_us = take->now_us - mail->give_up_us,
		.turn = take->turn,
		.fresh = take->fresh,
		.most = take->most};
	char count[24];
	int result = ush_outbox_claim(conn, &claim);

	for (uint32_t i = 0; i < claim.count; i++)
		sendings[take->count++].item = claim.items[i];
	take->next_us = claim.next_us;
	if (result == 0 && claim.given_up > 0) {
		snprintf(count, sizeof(count), "%" PRId64, claim.given_up);
		ush_core_log(USH_CORE_ERROR, "mail", "given up", "count", count, NULL);
	}
	return result;
}

static int drop_mails(struct ush_db_conn *conn, int64_t now_us, void *context)
{
	const struct ush_mail *mail = context;

	return ush_outbox_drop(conn, now_us - mail->keep_us);
}

static void clear_mail(void *item)
{
	struct sending *sending = item;

	ush_outbox_item_free(&sending->item);
}

static void mail_free(void *context)
{
	struct ush_mail *mail = context;

	if (mail->password != NULL)
		explicit_bzero(mail->password, strlen(mail->password));
	free(mail->password);
	free(mail->ca);
	free(mail);
}

static const struct ush_sender_kind kind = {.name = "mail",
	.most = USH_OUTBOX_BATCH,
	.item_bytes = sizeof(struct sending),
	.take = take_mails,
	.start = start_mail,
	.end = end_mail,
	.drop = drop_mails,
	.clear = clear_mail,
	.closed = mail_free};

/* For those who are not given it. */
static struct ush_mail *opened;

void ush_mail_wake(struct ush_mail *mail)
{
	if (mail == NULL)
		mail = opened;
	if (mail != NULL && mail->sender != NULL)
		ush_sender_look(mail->sender);
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

/* ret: the text of the file (malloced), or NULL with a message. */
static char *read_file(const char *path, struct ush_message *message)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, CA_BYTES_MAX + 1);
	size_t bytes = 0;

	USH_ASSERT(text != NULL);
	if (file != NULL) {
		bytes = fread(text, 1, CA_BYTES_MAX, file);
		fclose(file);
	}
	if (bytes > 0 && bytes < CA_BYTES_MAX && strstr(text, "-----BEGIN CERTIFICATE-----"))
		return text;
	ush_message_set(message, "mail.ca_file: %s has no certificates in PEM", path);
	free(text);
	return NULL;
}

/* Mail to another machine goes through TLS unless it is said otherwise. */
static int read_tls(struct ush_mail *mail, const struct ush_core *core, struct ush_message *message)
{
	const char *require = core->setting(core, "mail", "require_tls");
	const char *ca = core->setting(core, "mail", "ca_file");

	mail->require_tls =
		require != NULL ? strcmp(require, "yes") == 0 : !ush_fetch_is_here(mail->relay);
	if (require != NULL && !mail->require_tls && strcmp(require, "no") != 0) {
		ush_message_set(message, "mail.require_tls is yes or no, not '%s'", require);
		return -USH_EINVAL;
	}
	if (!mail->require_tls && mail->user != NULL && !ush_fetch_is_here(mail->relay))
		ush_core_log(USH_CORE_WARN, "mail",
			"require_tls=no does not count: the relay is given a password", NULL);
	if (ca == NULL)
		return 0;
	mail->ca = read_file(ca, message);
	return mail->ca == NULL ? -USH_EINVAL : 0;
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
	if (read_tls(mail, core, message) != 0)
		return -USH_EINVAL;
	if (mail->user == NULL)
		return 0;
	mail->password = core->secret(core, "mail", "password_file", &bytes, message);
	if (mail->password == NULL)
		return -USH_EACCES;
	/* Editors end a file with a line break. */
	mail->password[strcspn(mail->password, "\r\n")] = '\0';
	return 0;
}

int ush_mail_open(struct ush_mail **mail, const struct ush_core *core, struct ush_message *message)
{
	struct ush_mail *made = calloc(1, sizeof(*made));
	int result;

	if (made == NULL)
		return -USH_ENOMEM;
	made->core = core;
	result = read_settings(made, core, message);
	if (result == 0 && !core->read_only && made->relay != NULL) {
		made->sender = ush_sender_open(core, &kind, made);
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
	if (mail->sender != NULL)
		ush_sender_close(mail->sender);
	else
		mail_free(mail);
}
