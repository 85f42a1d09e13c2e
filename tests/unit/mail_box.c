/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outbox and its sender, run by tests/system/test_mail.py.
 *
 *     mail_box CONNECTION mail.relay=URL ...
 *
 * Commands: put KEY TO SUBJECT; forget TO; count (waiting, sent, refused, given up).
 */
#include "mail/mail.h"
#include "sender/sender.h"
#include "tests/control_rig.h"

static struct ush_mail *mail;

struct command {
	char *word[3];
	int64_t count[4];
	int result;
};

static int put_job(struct ush_db_conn *conn, void *context)
{
	static const struct ush_mail_part parts[] = {{.type = "image/png",
							     .id = "qr@shop.example",
							     .data = "\x89PNG\0\r\n.",
							     .bytes = 8},
		{.type = "text/calendar; charset=utf-8",
			.name = "event.ics",
			.data = "BEGIN",
			.bytes = 5}};
	struct command *command = context;

	command->result = ush_mail_put(conn, command->word[0], command->word[1], command->word[2],
		"Grüße\n.\n..\nFrom here\n", "<img src=\"cid:qr@shop.example\">", parts, 2);
	return command->result < 0 && command->result != -USH_EINVAL ? command->result : 0;
}

static int forget_job(struct ush_db_conn *conn, void *context)
{
	struct command *command = context;

	command->result = ush_mail_forget(conn, command->word[0]);
	return command->result;
}

static int count_job(struct ush_db_conn *conn, void *context)
{
	struct command *command = context;
	struct ush_db_rows *rows =
		ush_db_query(conn, "SELECT state, COUNT(*) FROM mail_outbox GROUP BY state", "");

	memset(command->count, 0, sizeof(command->count));
	while (ush_db_next(rows))
		command->count[ush_db_int(rows, 0) & 3] = ush_db_int(rows, 1);
	return ush_db_error(conn, NULL);
}

static void run_command(char *line)
{
	struct command command = {0};
	char *name = strtok(line, " "), text[128];
	int result;

	command.word[0] = strtok(NULL, " ");
	command.word[1] = strtok(NULL, " ");
	command.word[2] = strtok(NULL, "");
	if (strcmp(name, "put") == 0)
		result = ush_db_run_now(core.db, USH_DB_WRITE, put_job, &command);
	else if (strcmp(name, "forget") == 0)
		result = ush_db_run_now(core.db, USH_DB_WRITE, forget_job, &command);
	else
		result = ush_db_run_now(core.db, USH_DB_READ, count_job, &command);
	if (strcmp(name, "count") == 0)
		snprintf(text, sizeof(text), "%d %d %d %d", (int)command.count[0],
			(int)command.count[1], (int)command.count[2], (int)command.count[3]);
	else
		snprintf(text, sizeof(text), "%d", result != 0 ? result : command.result);
	rig_say(text);
	ush_mail_wake(mail);
}

int main(int argc, char **argv)
{
	static const struct ush_db_step *const steps[] = {ush_sender_schema, ush_mail_schema, NULL};
	struct ush_message message = {""};

	rig_open(argc, argv, steps);
	if (ush_mail_open(&mail, &core, &message) != 0) {
		fprintf(stderr, "%s\n", message.text);
		return 1;
	}
	rig_run(run_command);
	ush_mail_close(mail);
	rig_close();
	return 0;
}
