/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usherd's configuration: embedded defaults, then the INI file, then --set on the command line.
 *
 * Owns:  struct ush_config.
 * Reads: the configuration file.
 * Never: DPDK; sockets; anything after start-up.
 */
#ifndef USH_CONFIG_H
#define USH_CONFIG_H

#include <limits.h>
#include <stdio.h>

#include "base/base.h"
#include "loop/loop.h"
#include "parse/parse.h"

/* Ports of one process. */
#define USH_PORT_COUNT_MAX 8u
/* CPUs that a list may name, 0 to this - 1. */
#define USH_CPU_COUNT_MAX 1024u
#define USH_CONTROL_UID_MAX 16u
#define USH_CONFIG_TEXT_MAX 256u

enum ush_checksum_tx {
	/* By the device if it is physical and offers it, else in software. */
	USH_CHECKSUM_TX_AUTO,
	USH_CHECKSUM_TX_SOFTWARE,
	/* By the device; an error at start if it does not offer it. */
	USH_CHECKSUM_TX_OFFLOAD,
};

enum ush_idle {
	USH_IDLE_SPIN,
	USH_IDLE_YIELD,
	/* Spin a while, then yield, then sleep some 30 us at a time. */
	USH_IDLE_SLEEP,
};

/* When the engine's memory is really taken from the system. */
enum ush_prefault {
	/* As it is touched. A first touch costs a page to be zeroed, up to 2 MiB of it. */
	USH_PREFAULT_NO = 0,
	/* By a thread of its own, beside recovery and after. */
	USH_PREFAULT_BACKGROUND = 1,
	/* Before the ports open. */
	USH_PREFAULT_YES = 2,
};

enum ush_hugepages {
	USH_HUGEPAGES_NO,
	USH_HUGEPAGES_YES,
	/* If enough are free. */
	USH_HUGEPAGES_AUTO,
};

enum ush_journal_mode {
	/* Inline on machines with one or two CPUs, else a thread. */
	USH_JOURNAL_AUTO,
	/* Loop 0 takes one step a turn. */
	USH_JOURNAL_INLINE,
	USH_JOURNAL_THREAD,
};

enum ush_admission_mode {
	USH_ADMISSION_OFF,
	/* In software, in the loops. */
	USH_ADMISSION_SW,
	/* The same, behind a simulation of the hardware filter. */
	USH_ADMISSION_HW_SIM,
};

enum ush_diag_level {
	USH_DIAG_ERROR,
	USH_DIAG_WARN,
	USH_DIAG_INFO,
	USH_DIAG_DEBUG,
};

/* One [port NAME] section. */
struct ush_config_port {
	char name[32];
	char device[USH_CONFIG_TEXT_MAX];
	/* Network byte order; has_* false for `none`. */
	uint8_t ipv4[4];
	uint8_t ipv6[16];
	uint8_t mac[6];
	bool has_ipv4;
	bool has_ipv6;
	bool has_mac;
	uint32_t udp_port;
	uint32_t checksum_rx;
	uint32_t checksum_tx;
	/* 0: one for each loop. */
	uint32_t queues;
	uint32_t rx_descriptors;
	uint32_t tx_descriptors;
	/* How long a device may take nothing before its replies are dropped, ms. */
	uint32_t tx_patience_ms;
	uint32_t mtu;
};

struct ush_cpu_list {
	uint16_t cpu[USH_LOOP_COUNT_MAX];
	uint32_t count;
};

struct ush_journal_place {
	uint32_t mode;
	/* -1: not pinned. */
	int32_t cpu;
};

struct ush_uid_list {
	uint32_t uid[USH_CONTROL_UID_MAX];
	uint32_t count;
};

struct ush_config {
	struct ush_config_port port[USH_PORT_COUNT_MAX];
	uint32_t port_count;
	/* The only port is the embedded default; the first [port] section replaces it. */
	bool port_implied;

	struct ush_cpu_list loops;
	struct ush_journal_place journal_place;
	uint32_t idle;

	uint32_t hugepages;
	uint32_t prefault;
	/* Memory for DPDK; 0: as much as the buffers need. */
	uint32_t megabytes;
	/* Packet buffers; 0: as many as rings, backlogs and waiting replies can hold. */
	uint32_t mbufs;

	uint32_t hold_count;
	uint32_t user_count;
	uint32_t answer_count;
	uint32_t row_count;
	uint32_t channel_row_count;
	uint32_t wait_count;
	uint32_t room_user_count;
	uint32_t room_device_count;
	uint32_t log_block_count;
	uint32_t ack_count;
	uint32_t admit_source_count;
	uint32_t admit_user_count;

	uint32_t admission;
	/* Keys and policies, see control/admission. */
	char admission_file[USH_CONFIG_TEXT_MAX];

	char journal_directory[USH_CONFIG_TEXT_MAX];
	uint32_t journal_segment_mb;
	uint32_t journal_spares;
	uint32_t journal_recycle;
	uint32_t journal_reuse;
	uint32_t journal_depth;
	uint32_t journal_write_kb;

	char control_socket[USH_CONFIG_TEXT_MAX];
	uint32_t control_mode;
	struct ush_uid_list control_uids;
	uint32_t control_clients;

	uint32_t log_level;
	uint32_t log_json;

	/* From the command line, not the file. */
	char state_directory[USH_CONFIG_TEXT_MAX];
	char run_directory[USH_CONFIG_TEXT_MAX];
};

/* Fills in the embedded defaults. in: state, run: directories, or NULL for the usual ones: as root
 * /var/lib/usher and /run/usher, else the user's XDG directories. */
void ush_config_default(struct ush_config *config, const char *state, const char *run);

/*
 * Reads a configuration file over what is there.
 * ret: 0; err: -USH_ENOENT, -USH_EACCES, -USH_EPARSE with "file:line: what is wrong, what is
 *      allowed"; then the configuration is half changed and must not be used.
 * by:  the starting thread.
 */
int ush_config_read(struct ush_config *config, const char *path, struct ush_message *message);

/* As one line of the file. in: text: "section.key=value", "port.NAME.key=value" for a port. */
int ush_config_set(struct ush_config *config, const char *text, struct ush_message *message);

/* Resolves what was left to be derived (paths, automatic choices) and checks what no single key
 * can show. in: cpu_count: CPUs of this machine. ret: 0; err: -USH_EINVAL with a message. */
int ush_config_finish(struct ush_config *config, uint32_t cpu_count, struct ush_message *message);

/* Prints the configuration as a file that reads back as itself. */
void ush_config_print(const struct ush_config *config, FILE *file);

/* What the engine wants to know of it. */
void ush_config_limits(const struct ush_config *config, struct ush_engine_limits *limits);

/* A device as EAL wants it. */
struct ush_device {
	/* Argument of --vdev or -a. */
	char argument[USH_CONFIG_TEXT_MAX + 192];
	/* What rte_eth_dev_get_port_by_name finds. */
	char name[64];
	/* Socket file that this device makes, or empty: a stale one must go first. */
	char socket[USH_CONFIG_TEXT_MAX];
	bool is_pci;
};

/*
 * Expands a device= value: a PCI address, an EAL vdev string (net_...), or one of the short forms
 * vhost:PATH, memif:PATH, af_packet:IFACE, af_xdp:IFACE, pcap:rx=FILE,tx=FILE.
 * in:  index: number of the port, which names the vdev. queues: queue pairs wanted.
 * ret: 0; err: -USH_EINVAL with a message that names the forms.
 */
int ush_device_expand(struct ush_device *device, const char *text, uint32_t index, uint32_t queues,
	struct ush_message *message);

#endif /* USH_CONFIG_H */
