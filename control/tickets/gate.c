/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan: parse, key, signature, event, revocations, then, under the log's lock, what others have
 * written since, whether the seat was let in, and our own line, synced before the answer.
 *
 * A line without its end was torn by a crash before anybody was let in, and is cut off. A whole
 * line whose checksum is wrong was changed by somebody: the gate does not go on with such a log.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tickets/gate.h"

#define LINE_BYTES_MAX 160u
#define READ_BYTES 65536u
#define CLOCK_BACK_US 1000000ll

/* Who was let in: open addressing, a power of two, at most half full. Key 0 is an empty slot. */
struct seen {
	uint64_t key; /* 1 + row * 64 + bit */
	int64_t first_us;
};

struct ush_gate {
	struct ush_gate_config config;
	struct ush_ticket_keys keys;
	struct ush_revocations list;
	struct stat keys_status;
	struct stat list_status;
	struct seen *seen;
	uint64_t seen_room;
	uint64_t seen_count;
	off_t log_at; /* read and understood up to here */
	int log;      /* -1: none */
	bool list_known;
};

static const char *const names[] = {
#define X(name, text) #name,
	USH_GATE_VERDICT_EACH(X)
#undef X
};
static const char *const texts[] = {
#define X(name, text) text,
	USH_GATE_VERDICT_EACH(X)
#undef X
};

const char *ush_gate_verdict_name(enum ush_gate_verdict verdict)
{
	return names[verdict];
}

const char *ush_gate_verdict_text(enum ush_gate_verdict verdict)
{
	return texts[verdict];
}

/* ---- files ---- */

/* ret: 0 and the file's content (malloced, 0-terminated). */
static int slurp(const char *path, size_t most, char **text, size_t *bytes, struct stat *status,
	struct ush_message *message)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = 0;
	ssize_t n = 0;

	*bytes = 0;
	*text = NULL;
	if (fd < 0 || fstat(fd, status) != 0) {
		result = ush_error_from_errno(errno);
		ush_message_set(message, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(status->st_mode) || (size_t)status->st_size > most) {
		ush_message_set(message, "%s: no file of up to %zu bytes", path, most);
		result = -USH_EINVAL;
	} else if ((*text = malloc((size_t)status->st_size + 1)) == NULL) {
		result = -USH_ENOMEM;
	}
	while (result == 0 && *bytes < (size_t)status->st_size &&
		(n = read(fd, *text + *bytes, (size_t)status->st_size - *bytes)) > 0)
		*bytes += (size_t)n;
	if (n < 0) {
		ush_message_set(message, "%s: %s", path, strerror(errno));
		result = -USH_EIO;
	}
	if (fd >= 0)
		close(fd);
	if (result != 0) {
		free(*text);
		*text = NULL;
	} else {
		(*text)[*bytes] = '\0';
	}
	return result;
}

static int load_keys(struct ush_gate *gate, struct ush_message *message)
{
	struct ush_message inner = {""};
	struct stat status;
	size_t bytes;
	char *text;
	int result = slurp(gate->config.keys, 1u << 20, &text, &bytes, &status, message);

	if (result != 0)
		return result;
	result = ush_ticket_keys_read(text, bytes, &gate->keys, &inner);
	free(text);
	/* What was looked at once is not looked at again before it changes. */
	gate->keys_status = status;
	if (result != 0)
		ush_message_set(message, "%.200s: %.250s", gate->config.keys, inner.text);
	return result;
}

static int load_list(struct ush_gate *gate, struct ush_message *message)
{
	struct ush_message inner = {""};
	struct ush_revocations list;
	struct stat status;
	size_t bytes;
	char *text;
	int result = slurp(gate->config.revocations, USH_REVOCATIONS_BYTES_MAX, &text, &bytes,
		&status, message);

	if (result != 0)
		return result;
	result = ush_revocations_read(text, bytes, &gate->keys, &list, &inner);
	free(text);
	gate->list_status = status;
	if (result != 0) {
		ush_message_set(message, "%.200s: %.250s", gate->config.revocations, inner.text);
		return result;
	}
	if (list.event != gate->config.event) {
		ush_message_set(message, "%.200s: a list of event %" PRIu32 ", not %" PRIu32,
			gate->config.revocations, list.event, gate->config.event);
		result = -USH_EINVAL;
	} else if (gate->list_known &&
		   (list.through < gate->list.through || list.made_us < gate->list.made_us)) {
		ush_message_set(message, "%.200s: older than the list in use, which stays",
			gate->config.revocations);
		result = -USH_EINVAL;
	}
	if (result != 0) {
		ush_revocations_free(&list);
		return result;
	}
	ush_revocations_free(&gate->list);
	gate->list = list;
	gate->list_known = true;
	return 0;
}

static bool changed(const char *path, const struct stat *before)
{
	struct stat now;

	return stat(path, &now) == 0 &&
	       (now.st_ino != before->st_ino || now.st_size != before->st_size ||
		       now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
		       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec);
}

int ush_gate_reload(struct ush_gate *gate, struct ush_message *message)
{
	bool keys = changed(gate->config.keys, &gate->keys_status);
	int result = 0;

	if (keys)
		result = load_keys(gate, message);
	/* A list that was signed by a key we did not know may be good now. */
	if (result == 0 && gate->config.revocations != NULL &&
		(keys || changed(gate->config.revocations, &gate->list_status)))
		result = load_list(gate, message);
	return result;
}

/* ---- who was let in ---- */

static uint64_t seat_key(const struct ush_ticket *ticket)
{
	return 1 + ((uint64_t)ticket->row << 6 | ticket->bit);
}

/* ret: the seat's slot, or the empty one where it belongs. */
static struct seen *slot(struct seen *table, uint64_t room, uint64_t key)
{
	uint64_t at = ush_mix64(key) & (room - 1);

	while (table[at].key != 0 && table[at].key != key)
		at = (at + 1) & (room - 1);
	return &table[at];
}

/* Afterwards there is room for one more. ret: 0; err: -USH_ENOMEM. */
static int make_room(struct ush_gate *gate)
{
	uint64_t room = gate->seen_room == 0 ? 1024 : gate->seen_room * 2;
	struct seen *table;

	if (gate->seen_count * 2 < gate->seen_room)
		return 0;
	table = calloc(room, sizeof(*table));
	if (table == NULL)
		return -USH_ENOMEM;
	for (uint64_t i = 0; i < gate->seen_room; i++) {
		if (gate->seen[i].key != 0)
			*slot(table, room, gate->seen[i].key) = gate->seen[i];
	}
	free(gate->seen);
	gate->seen = table;
	gate->seen_room = room;
	return 0;
}

/* The first time counts. in: room was made. */
static void remember(struct ush_gate *gate, const struct ush_ticket *ticket, int64_t at_us)
{
	struct seen *place = slot(gate->seen, gate->seen_room, seat_key(ticket));

	if (place->key != 0)
		return;
	*place = (struct seen){.key = seat_key(ticket), .first_us = at_us};
	gate->seen_count++;
}

/* ---- the log ---- */

static int format_line(const struct ush_gate_line *line, char text[LINE_BYTES_MAX])
{
	const struct ush_ticket *t = &line->ticket;
	int bytes = snprintf(text, LINE_BYTES_MAX - 16,
		"%" PRId64 " %s %" PRIu32 " %" PRIu32 " %u %u %" PRIu64, line->at_us,
		names[line->verdict], t->event, t->row, t->bit, t->serial, t->hold);

	return bytes +
	       snprintf(text + bytes, 16, " %08" PRIx32 "\n", ush_crc32c(0, text, (size_t)bytes));
}

/* in: a line without its end, 0-terminated. ret: true if it is as we wrote it. */
static bool parse_line(const char *text, struct ush_gate_line *line)
{
	struct ush_gate_line read = {0};
	char verdict[32], again[LINE_BYTES_MAX];
	unsigned bit, serial, crc;
	int count;

	if (sscanf(text, "%" SCNd64 " %31s %" SCNu32 " %" SCNu32 " %u %u %" SCNu64 " %x",
		    &read.at_us, verdict, &read.ticket.event, &read.ticket.row, &bit, &serial,
		    &read.ticket.hold, &crc) != 8)
		return false;
	read.ticket.bit = (uint8_t)bit;
	read.ticket.serial = (uint16_t)serial;
	for (uint32_t i = 0; i < USH_GATE_VERDICT_COUNT; i++) {
		if (strcmp(verdict, names[i]) != 0)
			continue;
		read.verdict = (enum ush_gate_verdict)i;
		/* One line has one text: the checksum is in it. */
		count = format_line(&read, again);
		if ((size_t)count != strlen(text) + 1 || memcmp(again, text, strlen(text)) != 0)
			return false;
		*line = read;
		return true;
	}
	return false;
}

/* Reads the whole lines from *at on. ret: 0, *at is where the first line that has no end begins. */
static int read_lines(int fd, const char *path, off_t *at,
	int (*each)(void *context, const struct ush_gate_line *line), void *context,
	struct ush_message *message)
{
	char *text = malloc(READ_BYTES + 1);
	int result = text == NULL ? -USH_ENOMEM : 0;

	while (result == 0) {
		ssize_t bytes = pread(fd, text, READ_BYTES, *at);
		char *begin = text, *end;

		if (bytes < 0) {
			result = ush_error_from_errno(errno);
			ush_message_set(message, "%s: %s", path, strerror(errno));
			break;
		}
		while (result == 0 &&
			(end = memchr(begin, '\n', (size_t)(text + bytes - begin))) != NULL) {
			struct ush_gate_line line;

			*end = '\0';
			if (parse_line(begin, &line)) {
				result = each(context, &line);
			} else {
				ush_message_set(message,
					"%s: the line at byte %" PRId64
					" was changed: keep the file, and begin another",
					path, (int64_t)*at + (begin - text));
				result = -USH_ECORRUPT;
			}
			begin = end + 1;
		}
		if (result == 0)
			*at += begin - text;
		if (bytes < (ssize_t)READ_BYTES || begin == text)
			break;
	}
	free(text);
	return result;
}

static int learn(void *context, const struct ush_gate_line *line)
{
	struct ush_gate *gate = context;
	int result;

	if (line->verdict != USH_GATE_VALID || line->ticket.event != gate->config.event)
		return 0;
	result = make_room(gate);
	if (result == 0)
		remember(gate, &line->ticket, line->at_us);
	return result;
}

/* Under the lock: what was written since, and no torn line at the end. */
static int catch_up(struct ush_gate *gate, struct ush_message *message)
{
	const char *path = gate->config.log;
	int result = read_lines(gate->log, path, &gate->log_at, learn, gate, message);
	struct stat status;

	if (result != 0)
		return result;
	if (fstat(gate->log, &status) != 0 ||
		(status.st_size > gate->log_at && ftruncate(gate->log, gate->log_at) != 0)) {
		result = ush_error_from_errno(errno);
		ush_message_set(message, "%s: %s", path, strerror(errno));
	} else if (status.st_size < gate->log_at) {
		ush_message_set(message, "%s: the log was cut while in use", path);
		result = -USH_ECORRUPT;
	}
	return result;
}

static int append(
	struct ush_gate *gate, const struct ush_gate_line *line, struct ush_message *message)
{
	char text[LINE_BYTES_MAX];
	int bytes = format_line(line, text);
	ssize_t written = write(gate->log, text, (size_t)bytes);

	if (written != bytes || (line->verdict == USH_GATE_VALID && fdatasync(gate->log) != 0)) {
		int result =
			written >= 0 && written < bytes ? -USH_ENOSPC : ush_error_from_errno(errno);

		ush_message_set(
			message, "%s: cannot be written: nobody is let in", gate->config.log);
		return result;
	}
	gate->log_at += bytes;
	return 0;
}

int ush_gate_open(
	struct ush_gate **gate, const struct ush_gate_config *config, struct ush_message *message)
{
	struct ush_gate *made = calloc(1, sizeof(*made));
	int result;

	if (made == NULL)
		return -USH_ENOMEM;
	made->config = *config;
	made->log = -1;
	result = load_keys(made, message);
	if (result == 0 && config->revocations != NULL)
		result = load_list(made, message);
	if (result == 0)
		result = make_room(made);
	if (result == 0 && config->log != NULL) {
		made->log = open(config->log, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		if (made->log < 0) {
			result = ush_error_from_errno(errno);
			ush_message_set(message, "%s: %s", config->log, strerror(errno));
		} else {
			flock(made->log, LOCK_EX);
			result = catch_up(made, message);
			flock(made->log, LOCK_UN);
		}
	}
	if (result != 0) {
		ush_gate_close(made);
		return result;
	}
	*gate = made;
	return 0;
}

/* ret: the verdict as far as keys, event and list say. */
static enum ush_gate_verdict judge(
	const struct ush_gate *gate, const char *text, size_t bytes, struct ush_gate_answer *answer)
{
	const struct ush_ticket_key *key;
	struct ush_ticket_code code;

	if (ush_ticket_parse(text, bytes, &code) != 0)
		return USH_GATE_MALFORMED;
	answer->known = true;
	answer->ticket = code.ticket;
	key = ush_ticket_key(&gate->keys, code.ticket.key);
	if (key == NULL)
		return USH_GATE_UNKNOWN_KEY;
	if (key->retired_us != 0)
		return USH_GATE_RETIRED_KEY;
	if (!ush_ticket_good(&code, key->public))
		return USH_GATE_BAD_SIGNATURE;
	if (code.ticket.event != gate->config.event)
		return USH_GATE_WRONG_EVENT;
	if (gate->list_known && code.ticket.serial < ush_revocations_alive(&gate->list,
							     code.ticket.row, code.ticket.bit))
		return USH_GATE_REVOKED;
	return USH_GATE_VALID;
}

int ush_gate_scan(struct ush_gate *gate, const char *text, size_t bytes, int64_t now_us,
	struct ush_gate_answer *answer, struct ush_message *message)
{
	struct ush_gate_answer said = {.list_known = gate->list_known};
	struct ush_gate_line line = {.at_us = now_us};
	int result = make_room(gate);

	if (result != 0)
		return result;
	said.list_age_us = gate->list_known ? now_us - gate->list.made_us : 0;
	/* A list from the future says that a clock is wrong: its age is not known. */
	said.list_too_old = !gate->list_known || said.list_age_us > gate->config.list_age_max_us ||
			    said.list_age_us < -gate->config.list_age_max_us - CLOCK_BACK_US;
	said.verdict = judge(gate, text, bytes, &said);
	if (said.verdict == USH_GATE_VALID && gate->config.strict && said.list_too_old)
		said.verdict = USH_GATE_STALE;
	if (gate->log >= 0) {
		if (flock(gate->log, LOCK_EX) != 0)
			return -USH_ESYSTEM;
		result = catch_up(gate, message);
	}
	if (result == 0 && said.verdict == USH_GATE_VALID) {
		struct seen *place = slot(gate->seen, gate->seen_room, seat_key(&said.ticket));

		if (place->key != 0) {
			said.verdict = USH_GATE_DUPLICATE;
			said.first_us = place->first_us;
		}
	}
	line.verdict = said.verdict;
	/* What nobody signed is not written down as if it were somebody's ticket. */
	if (said.known && said.verdict != USH_GATE_BAD_SIGNATURE &&
		said.verdict != USH_GATE_UNKNOWN_KEY && said.verdict != USH_GATE_RETIRED_KEY)
		line.ticket = said.ticket;
	if (result == 0 && gate->log >= 0)
		result = append(gate, &line, message);
	/* catch_up may have filled the room that was made; a half-full table has some in any case.
	 */
	if (result == 0 && said.verdict == USH_GATE_VALID)
		remember(gate, &said.ticket, now_us);
	if (gate->log >= 0)
		flock(gate->log, LOCK_UN);
	if (result == 0)
		*answer = said;
	return result;
}

void ush_gate_close(struct ush_gate *gate)
{
	if (gate == NULL)
		return;
	if (gate->log >= 0)
		close(gate->log);
	ush_revocations_free(&gate->list);
	free(gate->seen);
	free(gate);
}

struct reading {
	void (*each)(void *context, const struct ush_gate_line *line);
	void *context;
};

static int pass_on(void *context, const struct ush_gate_line *line)
{
	const struct reading *reading = context;

	reading->each(reading->context, line);
	return 0;
}

int ush_gate_log_read(const char *path,
	void (*each)(void *context, const struct ush_gate_line *line), void *context,
	struct ush_message *message)
{
	struct reading reading = {each, context};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t at = 0;
	int result;

	if (fd < 0) {
		result = ush_error_from_errno(errno);
		ush_message_set(message, "%s: %s", path, strerror(errno));
		return result;
	}
	result = read_lines(fd, path, &at, pass_on, &reading, message);
	close(fd);
	return result;
}
