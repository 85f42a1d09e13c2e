/* SPDX-License-Identifier: Apache-2.0 */
#include "port/config.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/config_key.h"

static const struct ush_config_port port_default = {
	.ipv4 = {10, 77, 0, 1},
	.ipv6 = {0xfd, 0x77, [15] = 1},
	.has_ipv4 = true,
	.has_ipv6 = true,
	.udp_port = USH_UDP_PORT,
	.rx_descriptors = 1024,
	.tx_descriptors = 1024,
	.tx_patience_ms = 10,
	.mtu = 1500,
	.checksum_rx = USH_CHECKSUM_RX_VERIFY,
	.checksum_tx = USH_CHECKSUM_TX_AUTO,
};

/* Puts "first/second" into a text field; what does not fit is found by ush_config_finish. */
static void path_join(char *field, const char *first, const char *second)
{
	snprintf(field, USH_CONFIG_TEXT_MAX, "%s/%s", first, second);
}

static void default_directories(struct ush_config *config)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (geteuid() == 0) {
		path_join(config->run_directory, "/run", "usher");
		path_join(config->state_directory, "/var/lib", "usher");
		return;
	}
	if (run != NULL && run[0] == '/')
		path_join(config->run_directory, run, "usher");
	else
		snprintf(config->run_directory, USH_CONFIG_TEXT_MAX, "/tmp/usher-%u", geteuid());
	if (state != NULL && state[0] == '/')
		path_join(config->state_directory, state, "usher");
	else
		path_join(config->state_directory, home != NULL && home[0] == '/' ? home : "/tmp",
			".local/state/usher");
}

void ush_config_default(struct ush_config *config, const char *state, const char *run)
{
	struct ush_engine_limits limits;

	ush_engine_limits_default(&limits);
	memset(config, 0, sizeof(*config));
	config->port[0] = port_default;
	snprintf(config->port[0].name, sizeof(config->port[0].name), "public");
	config->port_count = 1;
	config->port_implied = true;
	config->loops.count = 1;
	config->journal_place.cpu = -1;
	config->idle = USH_IDLE_SLEEP;
	config->hugepages = USH_HUGEPAGES_AUTO;
	config->prefault = USH_PREFAULT_BACKGROUND;
	config->hold_count = limits.hold_count;
	config->user_count = limits.user_count;
	config->answer_count = limits.answer_count;
	config->row_count = limits.row_count;
	config->channel_row_count = limits.channel_row_count;
	config->wait_count = limits.wait_count;
	config->room_user_count = limits.room_user_count;
	config->room_device_count = limits.room_device_count;
	config->log_block_count = limits.log_block_count;
	config->ack_count = limits.ack_count;
	config->admit_source_count = 1u << 18;
	config->admit_user_count = 1u << 20;
	config->journal_segment_mb = 64;
	config->journal_spares = 2;
	config->journal_reuse = 16;
	config->journal_depth = 4;
	config->journal_write_kb = 1024;
	config->control_mode = 0600;
	config->control_uids.count = geteuid() == 0 ? 1 : 2;
	config->control_uids.uid[1] = geteuid();
	config->control_clients = 64;
	config->log_level = USH_DIAG_INFO;
	config->log_json = !isatty(STDERR_FILENO);
	default_directories(config);
	if (state != NULL)
		snprintf(config->state_directory, USH_CONFIG_TEXT_MAX, "%s", state);
	if (run != NULL)
		snprintf(config->run_directory, USH_CONFIG_TEXT_MAX, "%s", run);
}

/* ret: the port of that name, made with the defaults if it is new; NULL with a message. */
static struct ush_config_port *port_named(
	struct ush_config *config, const char *name, bool from_file, struct ush_message *message)
{
	struct ush_config_port *port;
	uint32_t i;

	if (from_file && config->port_implied)
		config->port_count = 0;
	if (from_file)
		config->port_implied = false;
	for (i = 0; i < config->port_count; i++)
		if (strcmp(config->port[i].name, name) == 0)
			return &config->port[i];
	if (name[0] == 0 || strlen(name) >= sizeof(port->name) ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
			strlen(name)) {
		ush_message_set(message, "port '%s': a name is 1 to %zu letters, digits, - and _",
			name, sizeof(port->name) - 1);
		return NULL;
	}
	if (config->port_count == USH_PORT_COUNT_MAX) {
		ush_message_set(message, "port '%s': at most %u ports", name, USH_PORT_COUNT_MAX);
		return NULL;
	}
	port = &config->port[config->port_count++];
	*port = port_default;
	memcpy(port->name, name, strlen(name));
	return port;
}

/* in: section: "port NAME", "port.NAME" or a plain name. */
static int value_set(struct ush_config *config, const char *section, const char *name,
	const char *value, bool from_file, struct ush_message *message)
{
	bool is_port = strncmp(section, "port ", 5) == 0 || strncmp(section, "port.", 5) == 0;
	const struct ush_config_key *key;
	bool section_known;
	void *base = config;

	if (strcmp(section, "port") == 0) {
		ush_message_set(message, "[port] has no name; write [port NAME]");
		return -USH_EPARSE;
	}
	key = ush_config_key_find(is_port ? "port" : section, name, &section_known);
	if (!section_known) {
		ush_message_set(message,
			"unknown section [%s]; there are [port NAME], [cores], [memory], [limits], "
			"[journal], [control], [log]",
			section);
		return -USH_EPARSE;
	}
	if (key == NULL) {
		ush_message_set(message, "unknown key '%s' in [%s]; see usherd --print-config",
			name, section);
		return -USH_EPARSE;
	}
	if (is_port)
		base = port_named(config, section + 5, from_file, message);
	if (base == NULL)
		return -USH_EPARSE;
	return ush_config_key_set(key, base, value, message);
}

/* What the callbacks of libinih share. */
struct reader {
	struct ush_config *config;
	FILE *file;
	const char *path;
	struct ush_message *message;
	unsigned int line;
	int error;
	/* Keys set so far, to refuse a second value: hashes of section and name. */
	uint64_t seen[512];
	uint32_t seen_count;
};

/* Keeps the first error, with its place. */
static void reader_fail(struct reader *reader, const char *text)
{
	if (reader->error != 0)
		return;
	reader->error = -USH_EPARSE;
	ush_message_set(reader->message, "%s:%u: %s", reader->path, reader->line, text);
}

static char *reader_line(char *text, int size, void *stream)
{
	struct reader *reader = stream;
	char *got = fgets(text, size, reader->file);

	if (got == NULL)
		return NULL;
	reader->line++;
	if (strlen(text) + 1 == (size_t)size && text[size - 2] != '\n') {
		reader_fail(reader, "line too long; at most 198 bytes");
		return NULL;
	}
	/* libinih would go on with the section before. */
	if (text[strspn(text, " \t")] == '[' && strchr(text, ']') == NULL) {
		reader_fail(reader, "a [section] that does not end");
		return NULL;
	}
	return got;
}

/* ret: true the first time that a key of a section is met. */
static bool reader_is_new(struct reader *reader, const char *section, const char *name)
{
	static const struct ush_key key = {1, 2};
	uint64_t hash = ush_siphash(&key, section, strlen(section)) * 3 +
			ush_siphash(&key, name, strlen(name));
	uint32_t i;

	for (i = 0; i < reader->seen_count; i++)
		if (reader->seen[i] == hash)
			return false;
	if (reader->seen_count < sizeof(reader->seen) / sizeof(reader->seen[0]))
		reader->seen[reader->seen_count++] = hash;
	return true;
}

static int reader_value(void *user, const char *section, const char *name, const char *value)
{
	struct reader *reader = user;
	struct ush_message message;

	if (reader->error != 0)
		return 0;
	if (!reader_is_new(reader, section, name)) {
		ush_message_set(&message, "%s is set twice in [%s]", name, section);
		reader_fail(reader, message.text);
	} else if (value_set(reader->config, section, name, value, true, &message) != 0) {
		reader_fail(reader, message.text);
	}
	return reader->error == 0;
}

int ush_config_read(struct ush_config *config, const char *path, struct ush_message *message)
{
	struct reader reader = {.config = config, .path = path, .message = message};
	int line;

	reader.file = fopen(path, "re");
	if (reader.file == NULL) {
		int saved = errno;

		ush_message_set(
			message, "%s: cannot open the configuration: %s", path, strerror(saved));
		return ush_error_from_errno(saved);
	}
	line = ini_parse_stream(reader_line, &reader, reader_value, &reader);
	if (reader.error == 0 && line != 0) {
		reader.line = line > 0 ? (unsigned int)line : 0;
		reader_fail(&reader, "neither a [section], nor key=value, nor a # comment");
	}
	if (reader.error == 0 && ferror(reader.file)) {
		reader_fail(&reader, "read error");
		reader.error = -USH_EIO;
	}
	fclose(reader.file);
	return reader.error;
}

int ush_config_set(struct ush_config *config, const char *text, struct ush_message *message)
{
	struct ush_message inner;
	const char *equal = strchr(text, '=');
	char path[128];
	char *dot;
	int error;

	if (equal == NULL || (size_t)(equal - text) >= sizeof(path)) {
		ush_message_set(message, "--set %s: write section.key=value", text);
		return -USH_EPARSE;
	}
	memcpy(path, text, (size_t)(equal - text));
	path[equal - text] = 0;
	dot = strrchr(path, '.');
	if (dot == NULL || dot == path) {
		ush_message_set(message, "--set %s: write section.key=value", text);
		return -USH_EPARSE;
	}
	*dot = 0;
	error = value_set(config, path, dot + 1, equal + 1, false, &inner);
	if (error != 0)
		ush_message_set(message, "--set %s: %s", text, inner.text);
	return error;
}

/* Fills in the paths that follow the state and run directories. */
static int finish_paths(struct ush_config *config, struct ush_message *message)
{
	uint32_t i;

	/* Sockets allow 107 bytes; "/control.sock" and the ports' names must still fit. */
	if (strlen(config->state_directory) > 200 || strlen(config->run_directory) > 60) {
		ush_message_set(message, "--state-dir may have 200 bytes, --run-dir 60");
		return -USH_EINVAL;
	}
	if (config->journal_directory[0] == 0)
		path_join(config->journal_directory, config->state_directory, "journal");
	if (config->control_socket[0] == 0)
		path_join(config->control_socket, config->run_directory, "control.sock");
	if (config->admission_file[0] == 0)
		path_join(config->admission_file, config->state_directory, "admission");
	if (strlen(config->control_socket) > 107) {
		ush_message_set(message, "control.socket: a socket path may have 107 bytes");
		return -USH_EINVAL;
	}
	for (i = 0; i < config->port_count; i++) {
		struct ush_config_port *port = &config->port[i];

		if (port->device[0] != 0)
			continue;
		if (!config->port_implied) {
			ush_message_set(message, "[port %s]: device is missing", port->name);
			return -USH_EINVAL;
		}
		snprintf(port->device, sizeof(port->device), "vhost:%.200s/port0.sock",
			config->run_directory);
	}
	return 0;
}

/* The simulated filter is one, with one UDP port and one user of its tables. */
static int check_filter(const struct ush_config *config, struct ush_message *message)
{
	if (config->admission != USH_ADMISSION_HW_SIM)
		return 0;
	if (config->loops.count != 1) {
		ush_message_set(message, "admission.mode = hw-sim: [cores] loops must be one CPU");
		return -USH_EINVAL;
	}
	for (uint32_t i = 1; i < config->port_count; i++) {
		if (config->port[i].udp_port == config->port[0].udp_port)
			continue;
		ush_message_set(message,
			"admission.mode = hw-sim: [port %s] udp_port must be that of [port %s]",
			config->port[i].name, config->port[0].name);
		return -USH_EINVAL;
	}
	return 0;
}

int ush_config_finish(struct ush_config *config, uint32_t cpu_count, struct ush_message *message)
{
	struct ush_device device;
	uint32_t i;
	int error;

	error = finish_paths(config, message);
	if (error != 0)
		return error;
	for (i = 0; i < config->loops.count; i++) {
		if (config->loops.cpu[i] >= cpu_count) {
			ush_message_set(message, "[cores] loops: CPU %u; this machine has 0 to %u",
				config->loops.cpu[i], cpu_count - 1);
			return -USH_EINVAL;
		}
	}
	error = check_filter(config, message);
	if (error != 0)
		return error;
	if (config->journal_place.cpu >= (int32_t)cpu_count) {
		ush_message_set(message, "[cores] journal: CPU %d; this machine has 0 to %u",
			config->journal_place.cpu, cpu_count - 1);
		return -USH_EINVAL;
	}
	if (config->journal_place.mode == USH_JOURNAL_AUTO)
		config->journal_place.mode =
			cpu_count <= 2 ? USH_JOURNAL_INLINE : USH_JOURNAL_THREAD;
	if ((config->log_block_count & (config->log_block_count - 1)) != 0 ||
		(config->ack_count & (config->ack_count - 1)) != 0) {
		ush_message_set(message, "[limits] log_blocks and acks must be powers of two");
		return -USH_EINVAL;
	}
	for (i = 0; i < config->port_count; i++) {
		const struct ush_config_port *port = &config->port[i];
		struct ush_message inner;

		if (!port->has_ipv4 && !port->has_ipv6) {
			ush_message_set(
				message, "[port %s]: ipv4 and ipv6 are both none", port->name);
			return -USH_EINVAL;
		}
		error = ush_device_expand(&device, port->device, i, 1, &inner);
		if (error != 0) {
			ush_message_set(message, "[port %s]: %s", port->name, inner.text);
			return error;
		}
	}
	return 0;
}

static void print_section(const char *section, const void *base, FILE *file)
{
	const struct ush_config_key *key;
	char text[USH_CONFIG_VALUE_MAX];

	for (key = ush_config_keys; key->section != NULL; key++) {
		if (strcmp(key->section, section) != 0)
			continue;
		ush_config_key_text(key, base, text, sizeof(text));
		fprintf(file, "%s = %s\n", key->name, text);
	}
}

void ush_config_print(const struct ush_config *config, FILE *file)
{
	static const char *const sections[] = {
		"cores", "memory", "limits", "journal", "control", "log"};
	size_t i;

	fprintf(file, "# --state-dir %s\n# --run-dir %s\n", config->state_directory,
		config->run_directory);
	for (i = 0; i < config->port_count; i++) {
		fprintf(file, "\n[port %s]\n", config->port[i].name);
		print_section("port", &config->port[i], file);
	}
	for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		fprintf(file, "\n[%s]\n", sections[i]);
		print_section(sections[i], config, file);
	}
}

void ush_config_limits(const struct ush_config *config, struct ush_engine_limits *limits)
{
	limits->loop_count = config->loops.count;
	limits->hold_count = config->hold_count;
	limits->user_count = config->user_count;
	limits->answer_count = config->answer_count;
	limits->row_count = config->row_count;
	limits->channel_row_count = config->channel_row_count;
	limits->wait_count = config->wait_count;
	limits->room_user_count = config->room_user_count;
	limits->room_device_count = config->room_device_count;
	limits->log_block_count = config->log_block_count;
	limits->ack_count = config->ack_count;
	limits->admit_source_count =
		config->admission == USH_ADMISSION_OFF ? 0 : config->admit_source_count;
	limits->admit_user_count =
		config->admission == USH_ADMISSION_OFF ? 0 : config->admit_user_count;
}
