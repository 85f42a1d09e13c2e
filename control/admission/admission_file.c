/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is words between blanks; `#` begins a comment. The first word says what the line is; each
 * reader takes the others one by one.
 */
#include "admission/admission_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX 16u
#define MINUTE_NS 60000000000ull
#define MS_NS 1000000ull

struct line {
	char *word[WORDS_MAX];
	uint32_t count;
};

/* ret: false unless all of `text` is a number of that base and range. */
static bool number(const char *text, int base, uint64_t max, uint64_t *value)
{
	char *end;

	if (text == NULL || text[0] == 0 || text[0] == '-' || text[0] == '+' || text[0] == ' ')
		return false;
	errno = 0;
	*value = strtoull(text, &end, base);
	return *end == 0 && errno == 0 && *value <= max;
}

static bool key_read(const char *text, struct ush_key *key)
{
	uint8_t bytes[16];

	if (text == NULL || strlen(text) != 32)
		return false;
	for (uint32_t i = 0; i < 16; i++) {
		char pair[3] = {text[2 * i], text[2 * i + 1], 0};
		uint64_t value;
		if (strspn(pair, "0123456789abcdefABCDEF") != 2 || !number(pair, 16, 255, &value))
			return false;
		bytes[i] = (uint8_t)value;
	}
	memcpy(key, bytes, sizeof(*key));
	return true;
}

/* Takes the first place that is free of two. */
static const char *key_add(
	struct ush_admit_key keys[2], uint64_t id, const char *text, const char *what)
{
	for (uint32_t i = 0; i < 2; i++) {
		if (keys[i].live != 0 && keys[i].id == id)
			return "this key id is there already";
		if (keys[i].live != 0)
			continue;
		if (!key_read(text, &keys[i].key))
			return what;
		keys[i].id = (uint32_t)id;
		keys[i].live = 1;
		return NULL;
	}
	return "two keys are there already; a rotation drops the older one";
}

static const char *read_token(const struct line *l, struct ush_admit_config *c)
{
	const char *form = "allowed: token ID(0-255) KEY(32 hex digits)";
	uint64_t id;

	if (l->count != 3 || !number(l->word[1], 10, 255, &id))
		return form;
	return key_add(c->token, id, l->word[2], form);
}

static const char *read_gateway(const struct line *l, struct ush_admit_config *c)
{
	const char *form = "allowed: gateway NUMBER(0-63) ID(0-65535) KEY(32 hex digits)";
	uint64_t gateway, id;

	if (l->count != 4 || !number(l->word[1], 10, USH_ADMIT_GATEWAY_COUNT - 1, &gateway) ||
		!number(l->word[2], 10, 65535, &id))
		return form;
	return key_add(c->gateway[gateway], id, l->word[3], form);
}

/* "RATE/BURST": so many a minute, so many at once; or "none". */
static bool limit_read(char *text, struct ush_admit_limit *limit)
{
	char *slash = strchr(text, '/');
	uint64_t rate, burst;

	if (strcmp(text, "none") == 0) {
		*limit = (struct ush_admit_limit){0, 0};
		return true;
	}
	if (slash == NULL)
		return false;
	*slash = 0;
	if (!number(text, 10, 1000000000, &rate) || rate == 0 ||
		!number(slash + 1, 10, 1000000, &burst) || burst == 0)
		return false;
	limit->interval_ns = MINUTE_NS / rate;
	limit->tolerance_ns = (burst - 1) * limit->interval_ns;
	return true;
}

static const char *read_policy(const struct line *l, struct ush_admit_config *c)
{
	uint64_t index, value;
	struct ush_admit_policy *p;

	if (l->count < 2 || !number(l->word[1], 10, USH_ADMIT_POLICY_COUNT - 1, &index))
		return "allowed: policy NUMBER(0-15) SETTING=VALUE...";
	p = &c->policy[index];
	for (uint32_t i = 2; i < l->count; i++) {
		char *equals = strchr(l->word[i], '=');
		if (equals == NULL)
			return "a setting is NAME=VALUE";
		*equals = 0;
		if (strcmp(l->word[i], "source") == 0 && limit_read(equals + 1, &p->source))
			continue;
		if (strcmp(l->word[i], "hold") == 0 && limit_read(equals + 1, &p->hold))
			continue;
		if (strcmp(l->word[i], "user") == 0 && limit_read(equals + 1, &p->user))
			continue;
		if (strcmp(l->word[i], "work") == 0 &&
			number(equals + 1, 10, USH_ADMIT_WORK_BITS_MAX, &value)) {
			p->work_bits = (uint32_t)value;
			continue;
		}
		if (strcmp(l->word[i], "salt") == 0 &&
			number(equals + 1, 16, UINT64_MAX, &p->work_salt))
			continue;
		return "allowed: source, hold, user=PER-MINUTE/BURST or none; work=BITS(0-40); "
		       "salt=HEX";
	}
	return NULL;
}

static const char *read_event(const struct line *l, struct ush_admit_config *c)
{
	uint64_t event, policy;

	if (l->count != 3 || !number(l->word[1], 10, USH_EVENT_ID_MAX, &event) || event == 0 ||
		!number(l->word[2], 10, USH_ADMIT_POLICY_COUNT - 1, &policy))
		return "allowed: event ID POLICY(0-15)";
	c->event[event] = (uint8_t)policy;
	return NULL;
}

static const char *read_checks(const struct line *l, struct ush_admit_config *c)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} names[] = {
		{"mac", USH_ADMISSION_CHECK_MAC},
		{"event", USH_ADMISSION_CHECK_EVENT},
		{"token", USH_ADMISSION_CHECK_TOKEN},
		{"source", USH_ADMISSION_CHECK_SOURCE},
		{"work", USH_ADMISSION_CHECK_WORK},
		{"user", USH_ADMISSION_CHECK_USER},
	};

	c->checks = 0;
	for (uint32_t i = 1; i < l->count; i++) {
		uint32_t bit = 0;
		for (uint32_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			if (strcmp(names[j].name, l->word[i]) == 0)
				bit = names[j].bit;
		}
		if (bit == 0)
			return "allowed are mac, event, token, source, work, user";
		c->checks |= bit;
	}
	return NULL;
}

static const char *read_window(const struct line *l, uint64_t *window_ns)
{
	uint64_t ms;

	if (l->count != 2 || !number(l->word[1], 10, 3600000, &ms))
		return "allowed: milliseconds from 0 to 3600000";
	*window_ns = ms * MS_NS;
	return NULL;
}

static const char *read_line(const struct line *l, struct ush_admit_config *c)
{
	const char *what = l->word[0];

	if (strcmp(what, "token") == 0)
		return read_token(l, c);
	if (strcmp(what, "gateway") == 0)
		return read_gateway(l, c);
	if (strcmp(what, "policy") == 0)
		return read_policy(l, c);
	if (strcmp(what, "event") == 0)
		return read_event(l, c);
	if (strcmp(what, "checks") == 0)
		return read_checks(l, c);
	if (strcmp(what, "mac_window_ms") == 0)
		return read_window(l, &c->mac_window_ns);
	if (strcmp(what, "work_window_ms") == 0)
		return read_window(l, &c->work_window_ns);
	if (strcmp(what, "refusals") == 0)
		return l->count == 2 && limit_read(l->word[1], &c->refusal)
			       ? NULL
			       : "allowed: refusals PER-MINUTE/BURST or none";
	return "a line begins with token, gateway, policy, event, checks, mac_window_ms, "
	       "work_window_ms or refusals";
}

static void defaults(struct ush_admit_config *c)
{
	memset(c, 0, sizeof(*c));
	c->checks = USH_ADMISSION_CHECK_MAC | USH_ADMISSION_CHECK_EVENT |
		    USH_ADMISSION_CHECK_TOKEN | USH_ADMISSION_CHECK_SOURCE |
		    USH_ADMISSION_CHECK_WORK | USH_ADMISSION_CHECK_USER;
	c->mac_window_ns = 5000 * MS_NS;
	c->work_window_ns = 60000 * MS_NS;
	/* 100,000 a second, 10,000 at once. */
	c->refusal = (struct ush_admit_limit){10000, 9999 * 10000};
	for (uint32_t i = 0; i < USH_ADMIT_POLICY_COUNT; i++)
		c->policy[i] = (struct ush_admit_policy){
			.source = {100 * MS_NS, 900 * MS_NS},
			.hold = {50 * MS_NS, 39 * 50 * MS_NS},
			.user = {12000 * MS_NS, 48000 * MS_NS},
		};
}

/* Cuts a line into words. ret: false if there are too many. */
static bool cut(char *text, struct line *line)
{
	char *rest = NULL, *hash = strchr(text, '#');

	if (hash != NULL)
		*hash = 0;
	line->count = 0;
	for (char *word = strtok_r(text, " \t\r", &rest); word != NULL;
		word = strtok_r(NULL, " \t\r", &rest)) {
		if (line->count == WORDS_MAX)
			return false;
		line->word[line->count++] = word;
	}
	return true;
}

int ush_admission_parse(
	const char *text, size_t size, struct ush_admit_config *config, struct ush_message *message)
{
	uint32_t at = 0;

	defaults(config);
	while (size != 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end != NULL ? (size_t)(end - text) : size;
		const char *wrong = NULL;
		char copy[512];
		struct line line;

		at++;
		if (length >= sizeof(copy) || memchr(text, 0, length) != NULL) {
			wrong = "longer than 511 bytes, or a zero byte in it";
		} else {
			memcpy(copy, text, length);
			copy[length] = 0;
			if (!cut(copy, &line))
				wrong = "too many words";
			else if (line.count != 0)
				wrong = read_line(&line, config);
		}
		if (wrong != NULL) {
			ush_message_set(message, "line %u: %s", at, wrong);
			return -USH_EPARSE;
		}
		length += end != NULL;
		text += length;
		size -= length;
	}
	return 0;
}

/* Opens a file that only its owner can read. ret: the descriptor, or an error with a message. */
static int open_secret(const char *path, struct ush_message *message)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), error = errno;

	if (fd < 0) {
		ush_message_set(message, "%s: %s", path, strerror(error));
		return ush_error_from_errno(error);
	}
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		ush_message_set(message, "%s: no regular file", path);
		close(fd);
		return -USH_EACCES;
	}
	if ((status.st_mode & 077) != 0 || (status.st_uid != geteuid() && status.st_uid != 0)) {
		ush_message_set(message,
			"%s: it holds secrets and must be ours or root's, with mode 0600: chmod 600",
			path);
		close(fd);
		return -USH_EACCES;
	}
	return fd;
}

int ush_admission_read(
	const char *path, struct ush_admit_config *config, struct ush_message *message)
{
	struct ush_message wrong;
	size_t size = 0;
	ssize_t got = 1;
	char *text;
	int fd, error;

	fd = open_secret(path, message);
	if (fd < 0)
		return fd;
	text = malloc(USH_ADMISSION_FILE_BYTES_MAX + 1);
	while (text != NULL && size <= USH_ADMISSION_FILE_BYTES_MAX && got > 0) {
		got = read(fd, text + size, USH_ADMISSION_FILE_BYTES_MAX + 1 - size);
		size += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (text == NULL || got < 0 || size > USH_ADMISSION_FILE_BYTES_MAX) {
		ush_message_set(message, "%s: cannot be read, or is longer than %u bytes", path,
			USH_ADMISSION_FILE_BYTES_MAX);
		free(text);
		return -USH_EIO;
	}
	error = ush_admission_parse(text, size, config, &wrong);
	if (error != 0)
		ush_message_set(message, "%s: %.400s", path, wrong.text);
	explicit_bzero(text, size);
	free(text);
	return error;
}

uint32_t ush_admission_key_count(const struct ush_admit_config *config)
{
	uint32_t count = config->token[0].live + config->token[1].live;

	for (uint32_t i = 0; i < USH_ADMIT_GATEWAY_COUNT; i++)
		count += config->gateway[i][0].live + config->gateway[i][1].live;
	return count;
}
