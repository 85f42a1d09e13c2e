/* SPDX-License-Identifier: Apache-2.0 */
/* Frames into a classic pcap file (libpcap file format 2.4), for any packet generator to replay. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load_frame.h"

struct load_pcap {
	struct load_transport base;
	struct load_frame frame;
	FILE *file;
	const char *path;
};

struct pcap_header {
	uint32_t magic; /* 0xa1b23c4d: nanoseconds */
	uint16_t major;
	uint16_t minor;
	uint32_t zone;
	uint32_t accuracy;
	uint32_t bytes_max;
	uint32_t link; /* 1: Ethernet */
};
static_assert(sizeof(struct pcap_header) == 24, "pcap file header");

struct pcap_packet {
	uint32_t seconds;
	uint32_t nanoseconds;
	uint32_t bytes;
	uint32_t bytes_on_wire;
};
static_assert(sizeof(struct pcap_packet) == 16, "pcap packet header");

static uint32_t pcap_send(
	struct load_transport *transport, const struct load_packet *packets, uint32_t count)
{
	struct load_pcap *pcap = (struct load_pcap *)transport;
	uint8_t out[LOAD_FRAME_BYTES_MAX + 64];

	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes = load_frame_build(&pcap->frame, &packets[i], out);
		const struct pcap_packet header = {
			.seconds = (uint32_t)(packets[i].time_ns / 1000000000),
			.nanoseconds = (uint32_t)(packets[i].time_ns % 1000000000),
			.bytes = bytes,
			.bytes_on_wire = bytes,
		};

		fwrite_unlocked(&header, sizeof(header), 1, pcap->file);
		fwrite_unlocked(out, bytes, 1, pcap->file);
	}
	transport->sent_packets += count;
	return count;
}

static uint32_t pcap_receive(struct load_transport *transport, struct load_received *received)
{
	(void)transport;
	(void)received;
	return 0;
}

static void pcap_nothing(struct load_transport *transport, uint64_t ns)
{
	(void)transport;
	(void)ns;
}

static void pcap_close(struct load_transport *transport)
{
	struct load_pcap *pcap = (struct load_pcap *)transport;
	bool bad = ferror(pcap->file) != 0;

	bad |= fclose(pcap->file) != 0;
	if (bad)
		fprintf(stderr, "usher load: %s could not be written whole: %s\n", pcap->path,
			strerror(errno));
	free(pcap);
}

int load_pcap_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message)
{
	static const struct pcap_header header = {
		.magic = 0xa1b23c4d, .major = 2, .minor = 4, .bytes_max = 65535, .link = 1};
	struct load_pcap *pcap = calloc(1, sizeof(*pcap));
	int error;

	if (pcap == NULL)
		return -USH_ENOMEM;
	pcap->base = (struct load_transport){.send = pcap_send,
		.receive = pcap_receive,
		.wait = pcap_nothing,
		.tend = pcap_nothing,
		.close = pcap_close,
		.frames = true,
		.mute = true,
		.up = true};
	/* Locally administered addresses, unless told. */
	memcpy(pcap->frame.mac, "\x02\x00\x00\x00\x00\x02", 6);
	memcpy(pcap->frame.peer_mac, "\x02\x00\x00\x00\x00\x01", 6);
	error = load_frame_addresses(&pcap->frame, options, message);
	if (error != 0) {
		free(pcap);
		return error;
	}
	load_frame_init(&pcap->frame);
	pcap->path = options->pcap;
	pcap->file = fopen(options->pcap, "wb");
	if (pcap->file == NULL) {
		error = ush_error_from_errno(errno);
		ush_message_set(message, "%s: %s", options->pcap, strerror(errno));
		free(pcap);
		return error;
	}
	setvbuf(pcap->file, NULL, _IOFBF, 1u << 20);
	fwrite_unlocked(&header, sizeof(header), 1, pcap->file);
	*transport = &pcap->base;
	return 0;
}
