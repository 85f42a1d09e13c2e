/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, and how they are read. */
#include "daemon/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES_MAX (64 * 1024)

/* Modules add theirs here, under their own section. NULL: not given unless set. */
static struct setting {
	const char *section, *key, *value, *text;
	bool from_file;
} settings[] = {
	{"control", "state_dir", "/var/lib/usher-control", "ours: the database, made if missing",
		0},
	{"control", "read_only", "no", "yes: a read replica", 0},
	{"control", "drain_ms", "10000", "how long answers under way are waited for at the end", 0},
	{"control", "clock_shift_s", "0", "for tests: our clock is that much late (or early: -)",
		0},
	{"control", "seccomp", "yes", "no: without the filter of system calls", 0},
	{"usherd", "socket", "/run/usher/control.sock", "usherd's control port", 0},
	{"usherd", "journal_dir", "/var/lib/usher/journal", "usherd's journal", 0},
	{"database", "connection", NULL, "sqlite:PATH or postgresql://; default: in state_dir", 0},
	{"database", "connection_file", NULL, "a secret file that has it instead", 0},
	{"database", "readers", "4", "connections for jobs that only read", 0},
	{"http", "address", "127.0.0.1", "numeric", 0},
	{"http", "port", "8080", "0: any that is free", 0},
	{"http", "origin", NULL, "as browsers see us; default: http://ADDRESS:PORT", 0},
	{"http", "certificate", NULL, "PEM; with it and key: TLS", 0},
	{"http", "key", NULL, "PEM, mode 0600", 0},
	{"http", "proxies", NULL, "addresses whose X-Forwarded-For is believed", 0},
	{"http", "connections", "10000", "at most; beyond: closed at once", 0},
	{"http", "requests", "4096", "under way at most; beyond: 503", 0},
	{"http", "head_bytes", "16384", "of a request line and headers at most", 0},
	{"http", "body_bytes", "1048576", "of a body at most", 0},
	{"http", "head_ms", "10000", "for a whole head", 0},
	{"http", "body_ms", "30000", "for a whole body", 0},
	{"http", "idle_ms", "60000", "between requests", 0},
	{"http", "send_ms", "20000", "a client that takes nothing for so long is closed", 0},
	{"http", "queued_bytes", "262144", "of a stream that may wait to be sent", 0},
	{"people", "codes_file", NULL, "for tests and demos: codes are written here, not sent", 0},
	{"people", "requests_per_min", "1200", "of an address or account; a write counts ten", 0},
	{"people", "sms_url", NULL, "POST {to, text} sends a text message", 0},
	{"people", "sms_key_file", NULL, "a secret file: its bearer token", 0},
	{"orders", "reader", "usher-control",
		"name under which usherd's journal keeps what we have not read; one a process", 0},
	{"mail", "relay", NULL, "smtp://HOST:PORT or smtps://; without it mail waits in the outbox",
		0},
	{"mail", "from", NULL, "the address that mail comes from", 0},
	{"mail", "from_name", NULL, "and its name", 0},
	{"mail", "user", NULL, "at the relay", 0},
	{"mail", "password_file", NULL, "a secret file: its password", 0},
	{"mail", "require_tls", NULL,
		"no: also in the clear; not given: yes, unless the relay is on this machine", 0},
	{"mail", "ca_file", NULL, "certificates to trust at the relay; not given: the system's", 0},
	{"mail", "timeout_ms", "60000", "of one mail", 0},
	{"mail", "retry_ms", "30000",
		"first pause before a mail is tried again; doubles up to an hour", 0},
	{"mail", "give_up_h", "72", "after so long without success", 0},
	{"mail", "keep_days", "30", "a mail that is over stays in the database", 0},
	{"entry", "alg", "EdDSA", "of access tokens: EdDSA or ES256", 0},
	{"entry", "key_days", "30", "a new key of access tokens after so long; 0: never", 0},
	{"entry", "work_bits", "0", "of the proof of work that a join needs; 0: none", 0},
	{"entry", "captcha_url", NULL, "the provider's siteverify; not given: no CAPTCHA", 0},
	{"entry", "captcha_provider", NULL, "its name, for the page", 0},
	{"entry", "captcha_site_key", NULL, "the public key, for the page", 0},
	{"entry", "captcha_secret_file", NULL, "a secret file", 0},
	{"entry", "captcha_hostname", NULL, "what its answers must name", 0},
	{"entry", "captcha_address", "no", "yes: it is told the client's address", 0},
	{"entry", "captcha_timeout_ms", "3000", "then it counts as away", 0},
	{"entry", "beacon_source", NULL, "rooms with this beacon are drawn by themselves", 0},
	{"entry", "beacon_url", NULL, "where its rounds are, as drand has them, with {round}", 0},
	{"entry", "beacon_genesis_s", NULL, "when its round 1 came, seconds since 1970", 0},
	{"entry", "beacon_period_s", NULL, "seconds from one round to the next", 0},
	{"entry", "device_accounts", "4", "more of one device in an hour are slow; 0: any", 0},
	{"entry", "address_accounts", "8", "more of one address are one sign of it; 0: any", 0},
	{"entry", "address_a_minute", "600", "joins and exchanges of an address; 0: any", 0},
	{"entry", "address_burst", "20", "of these at once", 0},
	{"entry", "account_a_minute", "60", "the same of an account; 0: any", 0},
	{"entry", "account_burst", "10", "of these at once", 0},
	{"payments", "url", NULL, "the payment provider, https; without it there are no payments",
		0},
	{"payments", "key_file", NULL, "a secret file with the provider's secret key", 0},
	{"payments", "public_key", NULL, "the provider's publishable key, for the page", 0},
	{"payments", "webhook_secret_file", NULL, "a secret file: signs the provider's webhooks",
		0},
	{"payments", "webhook_previous_file", NULL, "the secret before it, while it is replaced",
		0},
	{"payments", "pay_ms", "600000", "time to pay, up to 900000", 0},
	{"payments", "poll_ms", "5000", "a payment that waits for its payer is looked at so often",
		0},
	{"payments", "back_off_ms", "100", "first pause after an unknown outcome; doubles", 0},
	{"payments", "timeout_ms", "30000", "of a call to the provider", 0},
	{"payments", "refunds", "16", "under way at once", 0},
	{"payments", "buyer_refunds", "no", "yes: buyers refund their orders themselves", 0},
	{"payments", "test_stop_at", NULL, "for tests: a step at which the process stops itself",
		0},
	{"hooks", "allow_private", "no",
		"for tests: yes: webhooks go to http and to addresses that are not public, too", 0},
	{"log", "level", "info", "debug, info, warn, error", 0},
};

#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static struct setting *find(const char *section, const char *key)
{
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].key, key) == 0)
			return &settings[i];
	return NULL;
}

static int set(const char *section, const char *key, const char *value, bool from_file,
	struct ush_message *message)
{
	struct setting *setting = find(section, key);

	if (setting == NULL) {
		ush_message_set(message,
			"there is no setting %s in [%s]; see usher-control --print-config", key,
			section);
		return -USH_EINVAL;
	}
	if (from_file && setting->from_file) {
		ush_message_set(message, "%s is set twice in [%s]", key, section);
		return -USH_EINVAL;
	}
	setting->from_file = setting->from_file || from_file;
	/* It lives as long as the process. */
	setting->value = strdup(value);
	USH_ASSERT(setting->value != NULL);
	return 0;
}

struct reader {
	struct ush_message *message;
	const char *path;
	int error;
};

static int on_value(void *context, const char *section, const char *name, const char *value)
{
	struct reader *reader = context;
	struct ush_message inner;

	if (reader->error != 0)
		return 0;
	reader->error = set(section, name, value, true, &inner);
	if (reader->error != 0)
		ush_message_set(reader->message, "%s: %s", reader->path, inner.text);
	return reader->error == 0;
}

int ush_settings_read(const char *path, struct ush_message *message)
{
	struct reader reader = {.message = message, .path = path};
	FILE *file = fopen(path, "re");
	int line;

	if (file == NULL) {
		const int saved = errno;

		ush_message_set(
			message, "%s: cannot open the configuration: %s", path, strerror(saved));
		return ush_error_from_errno(saved);
	}
	line = ini_parse_file(file, on_value, &reader);
	fclose(file);
	if (reader.error == 0 && line != 0) {
		ush_message_set(message,
			"%s:%d: neither a [section], nor key=value, nor a # comment", path, line);
		return -USH_EPARSE;
	}
	return reader.error;
}

int ush_settings_set(const char *text, struct ush_message *message)
{
	const char *equal = strchr(text, '='), *dot = strchr(text, '.');
	char section[64], key[64];

	if (equal == NULL || dot == NULL || dot > equal || dot - text >= 64 || equal - dot > 64) {
		ush_message_set(message, "--set %s: write section.key=value", text);
		return -USH_EINVAL;
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - text), text);
	snprintf(key, sizeof(key), "%.*s", (int)(equal - dot - 1), dot + 1);
	return set(section, key, equal + 1, false, message);
}

void ush_settings_print(void)
{
	const char *section = "";

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		if (strcmp(section, settings[i].section) != 0)
			printf("%s[%s]\n", i > 0 ? "\n" : "", settings[i].section);
		section = settings[i].section;
		printf("# %s\n", settings[i].text);
		if (settings[i].value != NULL)
			printf("%s = %s\n", settings[i].key, settings[i].value);
		else
			printf("# %s =\n", settings[i].key);
	}
}

const char *ush_setting(const struct ush_core *core, const char *section, const char *key)
{
	const struct setting *setting = find(section, key);

	(void)core;
	USH_ASSERT(setting != NULL);
	return setting->value;
}

int ush_setting_number(const char *section, const char *key, uint64_t low, uint64_t high,
	uint64_t *value, struct ush_message *message)
{
	const char *text = ush_setting(NULL, section, key);
	unsigned long long number;
	char *end;

	if (text != NULL && text[0] >= '0' && text[0] <= '9') {
		number = strtoull(text, &end, 10);
		if (*end == '\0' && strlen(text) < 19 && number >= low && number <= high) {
			*value = number;
			return 0;
		}
	}
	ush_message_set(message, "%s.%s wants a number from %llu to %llu", section, key,
		(unsigned long long)low, (unsigned long long)high);
	return -USH_EINVAL;
}

/* ret: bytes; NULL with a message. */
static char *read_secret(int fd, const char *path, size_t *bytes, struct ush_message *message)
{
	struct stat about;
	ssize_t got;
	char *text;

	if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || (about.st_mode & 077) != 0 ||
		(about.st_uid != geteuid() && about.st_uid != 0)) {
		ush_message_set(message,
			"%s: a secret must be a regular file of ours that nobody else can read; chmod 600",
			path);
		return NULL;
	}
	text = calloc(1, SECRET_BYTES_MAX + 1);
	USH_ASSERT(text != NULL);
	got = read(fd, text, SECRET_BYTES_MAX + 1);
	if (got <= 0 || got > SECRET_BYTES_MAX) {
		free(text);
		ush_message_set(message, "%s: a secret has 1 to %d bytes", path, SECRET_BYTES_MAX);
		return NULL;
	}
	/* Editors end files with a line break. */
	if (text[got - 1] == '\n')
		text[--got] = '\0';
	text[got] = '\0';
	*bytes = (size_t)got;
	return text;
}

char *ush_secret(const struct ush_core *core, const char *section, const char *key, size_t *bytes,
	struct ush_message *message)
{
	const char *path = ush_setting(core, section, key);
	char *text;
	int fd;

	if (path == NULL) {
		ush_message_set(message, "%s.%s is not set: it names a secret file", section, key);
		return NULL;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		const int saved = errno;

		ush_message_set(message, "%s.%s: %s: %s", section, key, path, strerror(saved));
		return NULL;
	}
	text = read_secret(fd, path, bytes, message);
	close(fd);
	return text;
}
