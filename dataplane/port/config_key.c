/* SPDX-License-Identifier: Apache-2.0 */
#include "port/config_key.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static const char *const choices_checksum_rx[] = {"verify", "partial", "off", NULL};
static const char *const choices_checksum_tx[] = {"auto", "software", "offload", NULL};
static const char *const choices_idle[] = {"spin", "yield", "sleep", NULL};
static const char *const choices_hugepages[] = {"no", "yes", "auto", NULL};
static const char *const choices_prefault[] = {"no", "background", "yes", NULL};
static const char *const choices_admission[] = {"off", "sw", "hw-sim", NULL};
static const char *const choices_recycle[] = {"off", "archived", "on", NULL};
static const char *const choices_level[] = {"error", "warn", "info", "debug", NULL};
static const char *const choices_format[] = {"text", "json", NULL};

#define OF(field) offsetof(struct ush_config, field)
#define OF_PORT(field) offsetof(struct ush_config_port, field)
#define NUMBER(section, name, offset, min, max) \
	{ \
		section, name, USH_CONFIG_NUMBER, offset, min, max, NULL \
	}
#define AUTO(section, name, offset, min, max) \
	{ \
		section, name, USH_CONFIG_NUMBER_AUTO, offset, min, max, NULL \
	}
#define CHOICE(section, name, offset, list) \
	{ \
		section, name, USH_CONFIG_CHOICE, offset, 0, 0, list \
	}
#define OTHER(section, name, kind, offset) \
	{ \
		section, name, kind, offset, 0, 0, NULL \
	}

const struct ush_config_key ush_config_keys[] = {
	OTHER("port", "device", USH_CONFIG_TEXT, OF_PORT(device)),
	OTHER("port", "ipv4", USH_CONFIG_IPV4, OF_PORT(ipv4)),
	OTHER("port", "ipv6", USH_CONFIG_IPV6, OF_PORT(ipv6)),
	OTHER("port", "mac", USH_CONFIG_MAC, OF_PORT(mac)),
	NUMBER("port", "udp_port", OF_PORT(udp_port), 1, 65535),
	AUTO("port", "queues", OF_PORT(queues), 1, USH_LOOP_COUNT_MAX),
	NUMBER("port", "rx_descriptors", OF_PORT(rx_descriptors), 64, 32768),
	NUMBER("port", "tx_descriptors", OF_PORT(tx_descriptors), 64, 32768),
	NUMBER("port", "tx_patience_ms", OF_PORT(tx_patience_ms), 1, 10000),
	NUMBER("port", "mtu", OF_PORT(mtu), 1500, 1900),
	CHOICE("port", "checksum_rx", OF_PORT(checksum_rx), choices_checksum_rx),
	CHOICE("port", "checksum_tx", OF_PORT(checksum_tx), choices_checksum_tx),
	OTHER("cores", "loops", USH_CONFIG_CPUS, OF(loops)),
	OTHER("cores", "journal", USH_CONFIG_PLACE, OF(journal_place)),
	CHOICE("cores", "idle", OF(idle), choices_idle),
	CHOICE("memory", "hugepages", OF(hugepages), choices_hugepages),
	CHOICE("memory", "prefault", OF(prefault), choices_prefault),
	AUTO("memory", "megabytes", OF(megabytes), 64, 1u << 20),
	AUTO("memory", "mbufs", OF(mbufs), 1024, 1u << 24),
	NUMBER("limits", "holds", OF(hold_count), 64, 1u << 24),
	NUMBER("limits", "users", OF(user_count), 64, 1u << 28),
	NUMBER("limits", "answers", OF(answer_count), 64, 1u << 28),
	NUMBER("limits", "channel_rows", OF(channel_row_count), 0, 1u << 24),
	NUMBER("limits", "waiting", OF(wait_count), 0, 1u << 24),
	NUMBER("limits", "room_users", OF(room_user_count), 0, 1u << 27),
	NUMBER("limits", "room_devices", OF(room_device_count), 8, 1u << 26),
	NUMBER("limits", "rows", OF(row_count), 64, 1u << 26),
	NUMBER("limits", "log_blocks", OF(log_block_count), 16, 1u << 20),
	NUMBER("limits", "acks", OF(ack_count), 256, 1u << 20),
	NUMBER("limits", "admit_sources", OF(admit_source_count), 64, 1u << 26),
	NUMBER("limits", "admit_users", OF(admit_user_count), 64, 1u << 26),
	CHOICE("admission", "mode", OF(admission), choices_admission),
	OTHER("admission", "file", USH_CONFIG_TEXT, OF(admission_file)),
	OTHER("journal", "directory", USH_CONFIG_TEXT, OF(journal_directory)),
	NUMBER("journal", "segment_mb", OF(journal_segment_mb), 1, 65536),
	NUMBER("journal", "spares", OF(journal_spares), 1, 64),
	CHOICE("journal", "recycle", OF(journal_recycle), choices_recycle),
	NUMBER("journal", "reuse", OF(journal_reuse), 0, 65536),
	NUMBER("journal", "depth", OF(journal_depth), 1, 16),
	NUMBER("journal", "write_kb", OF(journal_write_kb), 4, 16384),
	OTHER("control", "socket", USH_CONFIG_TEXT, OF(control_socket)),
	OTHER("control", "mode", USH_CONFIG_OCTAL, OF(control_mode)),
	OTHER("control", "allow_uid", USH_CONFIG_UIDS, OF(control_uids)),
	NUMBER("control", "clients", OF(control_clients), 1, 1024),
	CHOICE("log", "level", OF(log_level), choices_level),
	CHOICE("log", "format", OF(log_json), choices_format),
	{NULL, NULL, USH_CONFIG_NUMBER, 0, 0, 0, NULL},
};

const struct ush_config_key *ush_config_key_find(
	const char *section, const char *name, bool *section_known)
{
	const struct ush_config_key *key;

	*section_known = false;
	for (key = ush_config_keys; key->section != NULL; key++) {
		if (strcmp(key->section, section) != 0)
			continue;
		*section_known = true;
		if (strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

/* Reads a whole decimal or octal number. ret: false unless all of `text` is one in the range. */
static bool number_read(const char *text, int base, uint32_t min, uint32_t max, uint32_t *number)
{
	unsigned long v;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	v = strtoul(text, &end, base);
	if (*end != 0 || v < min || v > max)
		return false;
	*number = (uint32_t)v;
	return true;
}

static int number_set(const struct ush_config_key *key, void *field, const char *value,
	struct ush_message *message)
{
	bool automatic = key->kind == USH_CONFIG_NUMBER_AUTO;
	uint32_t number = 0;

	if (!(automatic && strcmp(value, "auto") == 0) &&
		!number_read(value, 10, key->min, key->max, &number)) {
		ush_message_set(message, "%s=%s: allowed is a number from %u to %u%s", key->name,
			value, key->min, key->max, automatic ? ", or auto" : "");
		return -USH_EPARSE;
	}
	*(uint32_t *)field = number;
	return 0;
}

static int choice_set(const struct ush_config_key *key, uint32_t *field, const char *value,
	struct ush_message *message)
{
	char allowed[128] = "";
	size_t used = 0;
	uint32_t i;

	for (i = 0; key->choices[i] != NULL; i++) {
		if (strcmp(key->choices[i], value) == 0) {
			*field = i;
			return 0;
		}
		used += (size_t)snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
			i == 0 ? "" : ", ", key->choices[i]);
	}
	ush_message_set(message, "%s=%s: allowed are %s", key->name, value, allowed);
	return -USH_EPARSE;
}

static int text_set(const struct ush_config_key *key, char *field, const char *value,
	struct ush_message *message)
{
	if (strlen(value) >= USH_CONFIG_TEXT_MAX) {
		ush_message_set(
			message, "%s: longer than %u bytes", key->name, USH_CONFIG_TEXT_MAX - 1);
		return -USH_EPARSE;
	}
	memset(field, 0, USH_CONFIG_TEXT_MAX);
	memcpy(field, value, strlen(value));
	return 0;
}

/* ret: true for an IPv4 address that a host can have: not 0/8, 127/8, 224/4 and up. */
static bool ipv4_usable(const uint8_t *address)
{
	return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

/* ret: true for an IPv6 address that a host can have, link-local ones left out: they come from the
 * MAC. */
static bool ipv6_usable(const struct in6_addr *address)
{
	return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_LOOPBACK(address) &&
	       !IN6_IS_ADDR_MULTICAST(address) && !IN6_IS_ADDR_LINKLOCAL(address) &&
	       !IN6_IS_ADDR_V4MAPPED(address);
}

static bool mac_read(const char *value, uint8_t *mac)
{
	unsigned int b[6];
	int used = 0;
	int i;

	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &used) != 6 ||
		value[used] != 0 || (b[0] & 1) != 0 ||
		(b[0] | b[1] | b[2] | b[3] | b[4] | b[5]) == 0)
		return false;
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return true;
}

static int address_set(const struct ush_config_key *key, struct ush_config_port *port,
	const char *value, struct ush_message *message)
{
	struct in6_addr ipv6;
	uint8_t ipv4[4];

	switch (key->kind) {
	case USH_CONFIG_IPV4:
		port->has_ipv4 = strcmp(value, "none") != 0;
		if (!port->has_ipv4)
			return 0;
		if (inet_pton(AF_INET, value, ipv4) == 1 && ipv4_usable(ipv4)) {
			memcpy(port->ipv4, ipv4, 4);
			return 0;
		}
		ush_message_set(message,
			"ipv4=%s: allowed is a unicast address such as 10.77.0.1, "
			"or none",
			value);
		return -USH_EPARSE;
	case USH_CONFIG_IPV6:
		port->has_ipv6 = strcmp(value, "none") != 0;
		if (!port->has_ipv6)
			return 0;
		if (inet_pton(AF_INET6, value, &ipv6) == 1 && ipv6_usable(&ipv6)) {
			memcpy(port->ipv6, &ipv6, 16);
			return 0;
		}
		ush_message_set(message,
			"ipv6=%s: allowed is a unicast address such as fd77::1 "
			"(link-local comes from the MAC), or none",
			value);
		return -USH_EPARSE;
	default:
		port->has_mac = strcmp(value, "device") != 0;
		if (!port->has_mac || mac_read(value, port->mac))
			return 0;
		ush_message_set(message,
			"mac=%s: allowed is a unicast address such as "
			"02:00:00:00:00:01, or device",
			value);
		return -USH_EPARSE;
	}
}

/* Reads "0,2-3". */
static bool cpus_read(const char *value, struct ush_cpu_list *list)
{
	struct ush_cpu_list cpus = {.count = 0};
	const char *p = value;

	for (;;) {
		unsigned int first, last;
		int used = 0;

		if (*p < '0' || *p > '9' || sscanf(p, "%4u%n", &first, &used) != 1)
			return false;
		p += used;
		last = first;
		if (*p == '-') {
			if (p[1] < '0' || p[1] > '9' || sscanf(p + 1, "%4u%n", &last, &used) != 1)
				return false;
			p += 1 + used;
		}
		if (last < first || last >= USH_CPU_COUNT_MAX)
			return false;
		for (; first <= last; first++) {
			uint32_t i;

			for (i = 0; i < cpus.count; i++)
				if (cpus.cpu[i] == first)
					return false;
			if (cpus.count == USH_LOOP_COUNT_MAX)
				return false;
			cpus.cpu[cpus.count++] = (uint16_t)first;
		}
		if (*p == 0)
			break;
		if (*p++ != ',')
			return false;
	}
	*list = cpus;
	return true;
}

static bool place_read(const char *value, struct ush_journal_place *place)
{
	uint32_t cpu;

	if (strcmp(value, "auto") == 0)
		*place = (struct ush_journal_place){USH_JOURNAL_AUTO, -1};
	else if (strcmp(value, "inline") == 0)
		*place = (struct ush_journal_place){USH_JOURNAL_INLINE, -1};
	else if (strcmp(value, "thread") == 0)
		*place = (struct ush_journal_place){USH_JOURNAL_THREAD, -1};
	else if (strncmp(value, "thread:", 7) == 0 &&
		 number_read(value + 7, 10, 0, USH_CPU_COUNT_MAX - 1, &cpu))
		*place = (struct ush_journal_place){USH_JOURNAL_THREAD, (int32_t)cpu};
	else
		return false;
	return true;
}

/* Reads "0,1000". */
static bool uids_read(const char *value, struct ush_uid_list *list)
{
	struct ush_uid_list uids = {.count = 0};
	const char *p = value;

	for (;;) {
		char *end;
		unsigned long v;

		if (*p < '0' || *p > '9' || uids.count == USH_CONTROL_UID_MAX)
			return false;
		v = strtoul(p, &end, 10);
		if (v >= UINT32_MAX)
			return false;
		uids.uid[uids.count++] = (uint32_t)v;
		if (*end == 0)
			break;
		if (*end != ',')
			return false;
		p = end + 1;
	}
	*list = uids;
	return true;
}

int ush_config_key_set(const struct ush_config_key *key, void *base, const char *value,
	struct ush_message *message)
{
	void *field = (char *)base + key->offset;

	switch (key->kind) {
	case USH_CONFIG_NUMBER:
	case USH_CONFIG_NUMBER_AUTO:
		return number_set(key, field, value, message);
	case USH_CONFIG_CHOICE:
		return choice_set(key, field, value, message);
	case USH_CONFIG_TEXT:
		return text_set(key, field, value, message);
	case USH_CONFIG_IPV4:
	case USH_CONFIG_IPV6:
	case USH_CONFIG_MAC:
		return address_set(key, base, value, message);
	case USH_CONFIG_CPUS:
		if (cpus_read(value, field))
			return 0;
		ush_message_set(message,
			"%s=%s: allowed is a list of up to %u different CPUs such as 0 or 0,2-3",
			key->name, value, USH_LOOP_COUNT_MAX);
		return -USH_EPARSE;
	case USH_CONFIG_PLACE:
		if (place_read(value, field))
			return 0;
		ush_message_set(message, "%s=%s: allowed are auto, inline, thread, thread:CPU",
			key->name, value);
		return -USH_EPARSE;
	case USH_CONFIG_OCTAL:
		if (number_read(value, 8, 0, 0777, field))
			return 0;
		ush_message_set(message, "%s=%s: allowed is an octal file mode such as 0600",
			key->name, value);
		return -USH_EPARSE;
	case USH_CONFIG_UIDS:
		if (uids_read(value, field))
			return 0;
		ush_message_set(message,
			"%s=%s: allowed is a list of up to %u user ids such as 0,1000", key->name,
			value, USH_CONTROL_UID_MAX);
		return -USH_EPARSE;
	}
	return -USH_EINVAL;
}

/* Writes "0,2,3". */
static void list_text(
	const uint16_t *cpu, const uint32_t *uid, uint32_t count, char *text, size_t size)
{
	size_t used = 0;
	uint32_t i;

	text[0] = 0;
	for (i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%u", i == 0 ? "" : ",",
			cpu != NULL ? cpu[i] : uid[i]);
}

static void address_text(const struct ush_config_key *key, const struct ush_config_port *port,
	char *text, size_t size)
{
	const uint8_t *m = port->mac;

	if (key->kind == USH_CONFIG_IPV4) {
		if (!port->has_ipv4 ||
			inet_ntop(AF_INET, port->ipv4, text, (socklen_t)size) == NULL)
			snprintf(text, size, "none");
	} else if (key->kind == USH_CONFIG_IPV6) {
		if (!port->has_ipv6 ||
			inet_ntop(AF_INET6, port->ipv6, text, (socklen_t)size) == NULL)
			snprintf(text, size, "none");
	} else if (port->has_mac) {
		snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
			m[5]);
	} else {
		snprintf(text, size, "device");
	}
}

void ush_config_key_text(
	const struct ush_config_key *key, const void *base, char *text, size_t size)
{
	const void *field = (const char *)base + key->offset;
	const struct ush_journal_place *place = field;
	uint32_t number;

	text[0] = 0;
	switch (key->kind) {
	case USH_CONFIG_NUMBER:
	case USH_CONFIG_NUMBER_AUTO:
		number = *(const uint32_t *)field;
		if (number == 0 && key->kind == USH_CONFIG_NUMBER_AUTO)
			snprintf(text, size, "auto");
		else
			snprintf(text, size, "%u", number);
		break;
	case USH_CONFIG_CHOICE:
		snprintf(text, size, "%s", key->choices[*(const uint32_t *)field]);
		break;
	case USH_CONFIG_TEXT:
		snprintf(text, size, "%s", (const char *)field);
		break;
	case USH_CONFIG_IPV4:
	case USH_CONFIG_IPV6:
	case USH_CONFIG_MAC:
		address_text(key, base, text, size);
		break;
	case USH_CONFIG_CPUS:
		list_text(((const struct ush_cpu_list *)field)->cpu, NULL,
			((const struct ush_cpu_list *)field)->count, text, size);
		break;
	case USH_CONFIG_PLACE:
		if (place->cpu >= 0)
			snprintf(text, size, "thread:%d", place->cpu);
		else
			snprintf(text, size, "%s",
				place->mode == USH_JOURNAL_AUTO     ? "auto"
				: place->mode == USH_JOURNAL_INLINE ? "inline"
								    : "thread");
		break;
	case USH_CONFIG_OCTAL:
		snprintf(text, size, "0%o", *(const uint32_t *)field);
		break;
	case USH_CONFIG_UIDS:
		list_text(NULL, ((const struct ush_uid_list *)field)->uid,
			((const struct ush_uid_list *)field)->count, text, size);
		break;
	}
}
