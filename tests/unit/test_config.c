/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: what is allowed is taken, what is not is refused with its place and what
 * would be allowed.
 *
 * Owns:  temporary files.
 * Reads: conf/ of the source tree, named by USH_CONF_DIR at compile time.
 * Never: EAL.
 */
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "port/config.h"
#include "tap.h"

#ifndef USH_CONF_DIR
#define USH_CONF_DIR "conf"
#endif

static struct ush_config config;
static struct ush_message message;

static int set(const char *text)
{
	message.text[0] = 0;
	return ush_config_set(&config, text, &message);
}

/* Reads `text` as a file over the defaults. */
static int read_text(const char *text)
{
	char path[] = "/tmp/usher-config-XXXXXX";
	int fd = mkstemp(path), error;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	ush_config_default(&config, "/s", "/r");
	message.text[0] = 0;
	error = ush_config_read(&config, path, &message);
	unlink(path);
	return error;
}

/* Goal: the embedded defaults are complete. Method: finish them. */
static void test_config_defaults_are_good(void)
{
	ush_config_default(&config, "/s", "/r");
	CHECK_EQ(ush_config_finish(&config, 2, &message), 0);
	CHECK_EQ(config.port_count, 1);
	CHECK(strcmp(config.port[0].device, "vhost:/r/port0.sock") == 0);
	CHECK(strcmp(config.journal_directory, "/s/journal") == 0);
	CHECK(strcmp(config.control_socket, "/r/control.sock") == 0);
	CHECK_EQ(config.journal_place.mode, USH_JOURNAL_INLINE);
	ush_config_default(&config, "/s", "/r");
	CHECK_EQ(ush_config_finish(&config, 3, &message), 0);
	CHECK_EQ(config.journal_place.mode, USH_JOURNAL_THREAD);
}

/* Goal: every kind of value. Method: good ones are taken, bad ones change nothing. */
static void test_config_values(void)
{
	static const char *const good[] = {"cores.loops=0,2-3", "cores.journal=thread:7",
		"cores.journal=inline", "cores.idle=yield", "memory.megabytes=auto",
		"memory.mbufs=4096", "control.mode=0660", "control.allow_uid=0,1000",
		"port.public.ipv4=192.168.0.1", "port.public.ipv4=none",
		"port.public.ipv6=2001:db8::1", "port.public.mac=02:00:00:00:00:01",
		"port.public.mac=device", "port.public.queues=4", "port public.queues=auto",
		"port.other.device=0000:03:00.0", "log.level=debug", "journal.depth=16"};
	static const char *const bad[] = {"cores.loops=", "cores.loops=a", "cores.loops=1-0",
		"cores.loops=0,0", "cores.loops=0,", "cores.loops=-1", "cores.loops=0-64",
		"cores.loops=9999", "cores.journal=thread:", "cores.journal=here", "cores.idle=0",
		"memory.megabytes=0", "memory.megabytes=-1", "memory.megabytes=12x",
		"memory.mbufs=99999999999999999999", "control.mode=0888", "control.mode=01777",
		"control.allow_uid=root", "control.allow_uid=1,", "port.public.ipv4=127.0.0.1",
		"port.public.ipv4=224.0.0.1", "port.public.ipv4=1.2.3", "port.public.ipv6=fe80::1",
		"port.public.ipv6=::1", "port.public.ipv6=ff02::1",
		"port.public.mac=01:00:00:00:00:01", "port.public.mac=00:00:00:00:00:00",
		"port.public.mac=02:00:00:00:00:01:02", "port.public.udp_port=0",
		"port.public.udp_port=65536", "port.a b.mtu=1500", "port..mtu=1500",
		"log.level=loud", "nothing", "cores=1", ".x=1", "cores.what=1", "what.loops=1",
		"port.mtu=1500", "journal.depth=17", "journal.depth=4 "};
	size_t i;

	ush_config_default(&config, "/s", "/r");
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int error = set(good[i]);

		if (error != 0)
			printf("# %s: %s\n", good[i], message.text);
		CHECK_EQ(error, 0);
	}
	CHECK_EQ(config.loops.count, 3);
	CHECK_EQ(config.loops.cpu[2], 3);
	CHECK_EQ(config.control_mode, 0660);
	CHECK_EQ(config.port_count, 2);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int error = set(bad[i]);

		if (error == 0)
			printf("# %s was taken\n", bad[i]);
		CHECK(error != 0);
		CHECK(strlen(message.text) > strlen(bad[i]));
	}
	CHECK_EQ(config.loops.count, 3);
	CHECK_EQ(config.journal_depth, 16);
}

/* Goal: an error in a file says where it is. Method: files with one fault each. */
static void test_config_file_errors_have_a_place(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"[cores]\nloops = x\n", ":2: loops=x: allowed is a list"},
		{"# fine\n\n[cores]\nidle=spin\nloop=0\n", ":5: unknown key 'loop' in [cores]"},
		{"[core]\nidle=spin\n", ":2: unknown section [core]"},
		{"idle=spin\n", ":1: unknown section []"},
		{"[log]\nlevel=info\n[cores]\nidle=spin\n[log]\nlevel=warn\n",
			":6: level is set twice in [log]"},
		{"[cores\nidle=spin\n", ":1: a [section] that does not end"},
		{"[cores]\nspin\n", ":2: neither a [section]"},
		{"[port]\nmtu=1500\n", ":2: [port] has no name"},
		{"[cores]\nidle=spinnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
		 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
		 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\n",
			":2: line too long"},
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(read_text(cases[i].text), -USH_EPARSE);
		if (strstr(message.text, cases[i].why) == NULL)
			printf("# '%s' is not in '%s'\n", cases[i].why, message.text);
		CHECK(strstr(message.text, cases[i].why) != NULL);
	}
	ush_config_default(&config, "/s", "/r");
	CHECK_EQ(ush_config_read(&config, "/nonexistent/usherd.conf", &message), -USH_ENOENT);
}

/* Goal: the first [port] section replaces the embedded port; further ones add. */
static void test_config_ports_replace_the_default(void)
{
	CHECK_EQ(
		read_text("[port a]\ndevice=af_xdp:eth0\n[port b]\ndevice=03:00.0\nqueues=2\n"), 0);
	CHECK_EQ(config.port_count, 2);
	CHECK(strcmp(config.port[1].name, "b") == 0);
	CHECK_EQ(config.port[1].queues, 2);
	CHECK_EQ(ush_config_finish(&config, 2, &message), 0);
	CHECK_EQ(read_text("[cores]\nidle=spin ; a remark\n"), 0);
	CHECK_EQ(config.port_count, 1);
	CHECK_EQ(config.idle, USH_IDLE_SPIN);
	CHECK_EQ(read_text("[port a]\nipv4=none\nipv6=none\ndevice=03:00.0\n"), 0);
	CHECK_EQ(ush_config_finish(&config, 2, &message), -USH_EINVAL);
	CHECK_EQ(read_text("[port a]\nmtu=1600\n"), 0);
	CHECK_EQ(ush_config_finish(&config, 2, &message), -USH_EINVAL);
	CHECK(strstr(message.text, "[port a]: device is missing") != NULL);
}

/* Goal: short forms of devices. Method: against EAL's long forms. */
static void test_config_devices_expand(void)
{
	static const struct {
		const char *text, *argument, *name, *socket;
	} cases[] = {
		{"vhost:/run/x.sock", "net_vhost1,iface=/run/x.sock,queues=2", "net_vhost1",
			"/run/x.sock"},
		{"memif:/run/m", "net_memif1,role=server,socket-abstract=no,socket=/run/m",
			"net_memif1", "/run/m"},
		{"af_packet:eth0", "net_af_packet1,iface=eth0,qpairs=2", "net_af_packet1", ""},
		{"af_xdp:eth0", "net_af_xdp1,iface=eth0,start_queue=0,queue_count=2", "net_af_xdp1",
			""},
		{"pcap:rx=a,tx=b", "net_pcap1,rx_pcap=a,tx_pcap=b", "net_pcap1", ""},
		{"pcap:rx=a", "net_pcap1,rx_pcap=a", "net_pcap1", ""},
		{"0000:03:00.0", "0000:03:00.0", "0000:03:00.0", ""},
		{"a3:1f.7", "0000:a3:1f.7", "0000:a3:1f.7", ""},
		{"net_vhost0,iface=/run/y,queues=1", "net_vhost0,iface=/run/y,queues=1",
			"net_vhost0", "/run/y"},
		{"net_vhost0,iface=/run/y,client=1", "net_vhost0,iface=/run/y,client=1",
			"net_vhost0", ""},
		{"net_null0", "net_null0", "net_null0", ""},
	};
	static const char *const bad[] = {"", "eth0", "vhost:", "vhost:relative", "vhost:/a,b",
		"pcap:", "pcap:tx=a", "pcap:rx=,tx=b", "pcap:rx=a,tx=", "0000:03:00", "03:00.8",
		"0g00:03:00.0", "memif:m", "af_xdp:"};
	struct ush_device device;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(ush_device_expand(&device, cases[i].text, 1, 2, &message), 0);
		CHECK(strcmp(device.argument, cases[i].argument) == 0);
		CHECK(strcmp(device.name, cases[i].name) == 0);
		CHECK(strcmp(device.socket, cases[i].socket) == 0);
		CHECK_EQ(device.is_pci, cases[i].text[0] != 'n' &&
						strchr(cases[i].text, '.') != NULL &&
						strchr(cases[i].text, '/') == NULL);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(ush_device_expand(&device, bad[i], 0, 1, &message), -USH_EINVAL);
}

/* Goal: what is printed reads back as itself. Method: print, read, print again, compare. */
static void test_config_prints_what_it_reads(void)
{
	static char first[8192], second[8192];
	FILE *file;

	ush_config_default(&config, "/s", "/r");
	CHECK_EQ(set("port.x.device=vhost:/run/x"), 0);
	CHECK_EQ(set("cores.loops=1,0"), 0);
	CHECK_EQ(set("cores.journal=thread:1"), 0);
	CHECK_EQ(set("port.x.mac=02:00:00:00:00:01"), 0);
	CHECK_EQ(set("port.x.ipv6=none"), 0);
	CHECK_EQ(set("control.allow_uid=0,7"), 0);
	CHECK_EQ(ush_config_finish(&config, 2, &message), 0);
	file = fmemopen(first, sizeof(first), "w");
	ush_config_print(&config, file);
	fclose(file);
	CHECK_EQ(read_text(first), 0);
	CHECK_EQ(ush_config_finish(&config, 2, &message), 0);
	file = fmemopen(second, sizeof(second), "w");
	ush_config_print(&config, file);
	fclose(file);
	CHECK(strcmp(first, second) == 0);
}

/* Goal: the examples we ship are good. Method: each conf/NAME.conf is read and finished. */
static void test_config_examples_are_good(void)
{
	DIR *directory = opendir(USH_CONF_DIR);
	struct dirent *entry;
	int examples = 0;

	CHECK(directory != NULL);
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		char path[1024];
		size_t size = strlen(entry->d_name);

		if (size < 5 || strcmp(entry->d_name + size - 5, ".conf") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", USH_CONF_DIR, entry->d_name);
		ush_config_default(&config, NULL, NULL);
		message.text[0] = 0;
		CHECK_EQ(ush_config_read(&config, path, &message), 0);
		/* They are for larger machines than this one may be. */
		CHECK_EQ(ush_config_finish(&config, 64, &message), 0);
		if (message.text[0] != 0)
			printf("# %s\n", message.text);
		examples++;
	}
	if (directory != NULL)
		closedir(directory);
	CHECK(examples >= 3);
}

int main(void)
{
	TAP_RUN(test_config_defaults_are_good);
	TAP_RUN(test_config_values);
	TAP_RUN(test_config_file_errors_have_a_place);
	TAP_RUN(test_config_ports_replace_the_default);
	TAP_RUN(test_config_devices_expand);
	TAP_RUN(test_config_prints_what_it_reads);
	TAP_RUN(test_config_examples_are_good);
	return tap_end();
}
