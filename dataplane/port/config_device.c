/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "port/config.h"

/* The long form that a short form stands for; %u are port index and queue pairs. */
struct form {
	const char *prefix;
	const char *driver;
	/* Arguments after the driver's name and number; %s is what follows the prefix. */
	const char *arguments;
	const char *queues;
	/* What follows the prefix is a socket that the device makes. */
	bool makes_socket;
};

static const struct form forms[] = {
	{"vhost:", "net_vhost", "iface=%s", ",queues=%u", true},
	/* An abstract socket could be neither protected by a mode nor seen with ls. */
	{"memif:", "net_memif", "role=server,socket-abstract=no,socket=%s", "", true},
	{"af_packet:", "net_af_packet", "iface=%s", ",qpairs=%u", false},
	{"af_xdp:", "net_af_xdp", "iface=%s,start_queue=0", ",queue_count=%u", false},
};

static bool is_hex(const char *text, size_t count)
{
	return strspn(text, "0123456789abcdefABCDEF") >= count;
}

/* ret: true for [dddd:]bb:dd.f; *name is the long form. */
static bool pci_read(const char *text, char *name, size_t size)
{
	bool has_domain = strlen(text) == 12;
	const char *rest = has_domain ? text + 5 : text;

	if (strlen(rest) != 7 || (has_domain && (!is_hex(text, 4) || text[4] != ':')))
		return false;
	if (!is_hex(rest, 2) || rest[2] != ':' || !is_hex(rest + 3, 2) || rest[5] != '.' ||
		rest[6] < '0' || rest[6] > '7')
		return false;
	snprintf(name, size, "%s%s", has_domain ? "" : "0000:", text);
	return true;
}

/* pcap:rx=FILE[,tx=FILE] */
static bool pcap_read(struct ush_device *device, const char *text, uint32_t index)
{
	const char *tx = strstr(text, ",tx=");
	int rx_size = tx != NULL ? (int)(tx - text) : (int)strlen(text);

	if (strncmp(text, "rx=", 3) != 0 || rx_size <= 3 || (tx != NULL && tx[4] == 0))
		return false;
	snprintf(device->name, sizeof(device->name), "net_pcap%u", index);
	snprintf(device->argument, sizeof(device->argument), "%s,rx_pcap=%.*s%s%s", device->name,
		rx_size - 3, text + 3, tx != NULL ? ",tx_pcap=" : "", tx != NULL ? tx + 4 : "");
	return true;
}

static int form_expand(struct ush_device *device, const struct form *form, const char *rest,
	uint32_t index, uint32_t queues, struct ush_message *message)
{
	char arguments[USH_CONFIG_TEXT_MAX + 64];
	char queue_text[32] = "";

	if (rest[0] == 0 || strchr(rest, ',') != NULL) {
		ush_message_set(message, "device=%s%s: write one path or interface, without commas",
			form->prefix, rest);
		return -USH_EINVAL;
	}
	if (form->makes_socket && (rest[0] != '/' || strlen(rest) > 107)) {
		ush_message_set(message, "device=%s%s: write an absolute path of at most 107 bytes",
			form->prefix, rest);
		return -USH_EINVAL;
	}
	snprintf(device->name, sizeof(device->name), "%s%u", form->driver, index);
	snprintf(arguments, sizeof(arguments), form->arguments, rest);
	snprintf(queue_text, sizeof(queue_text), form->queues, queues);
	snprintf(device->argument, sizeof(device->argument), "%s,%.300s%s", device->name, arguments,
		queue_text);
	if (form->makes_socket)
		snprintf(device->socket, sizeof(device->socket), "%s", rest);
	return 0;
}

/* The value of `key` in a vdev string, as a socket to be cleared away. */
static void vdev_socket(struct ush_device *device, const char *key)
{
	const char *at = strstr(device->argument, key);
	size_t size;

	if (at == NULL)
		return;
	at += strlen(key);
	size = strcspn(at, ",");
	if (size != 0 && size < sizeof(device->socket) && at[0] == '/')
		memcpy(device->socket, at, size);
}

int ush_device_expand(struct ush_device *device, const char *text, uint32_t index, uint32_t queues,
	struct ush_message *message)
{
	size_t i;

	memset(device, 0, sizeof(*device));
	if (pci_read(text, device->name, sizeof(device->name))) {
		device->is_pci = true;
		snprintf(device->argument, sizeof(device->argument), "%s", device->name);
		return 0;
	}
	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t size = strlen(forms[i].prefix);

		if (strncmp(text, forms[i].prefix, size) == 0)
			return form_expand(device, &forms[i], text + size, index, queues, message);
	}
	if (strncmp(text, "pcap:", 5) == 0 && pcap_read(device, text + 5, index))
		return 0;
	if (strncmp(text, "net_", 4) == 0 && strcspn(text, ",") < sizeof(device->name)) {
		snprintf(device->argument, sizeof(device->argument), "%s", text);
		memcpy(device->name, text, strcspn(text, ","));
		/* Only servers make their socket. */
		if (strncmp(text, "net_vhost", 9) == 0 && strstr(text, "client=1") == NULL)
			vdev_socket(device, "iface=");
		if (strncmp(text, "net_memif", 9) == 0 &&
			strstr(text, "socket-abstract=no") != NULL &&
			(strstr(text, "role=server") != NULL ||
				strstr(text, "role=master") != NULL))
			vdev_socket(device, "socket=");
		return 0;
	}
	ush_message_set(message,
		"device=%s: allowed are a PCI address such as 0000:03:00.0, vhost:/PATH, "
		"memif:/PATH, af_packet:INTERFACE, af_xdp:INTERFACE, pcap:rx=FILE,tx=FILE, or an "
		"EAL vdev such as net_vhost0,iface=/PATH",
		text);
	return -USH_EINVAL;
}
