/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The acknowledgement file: what we were told is durable, for `usher verify --acks`.
 *
 * Layout: 64-byte entries (struct ush_ack_entry); the first holds only ACK_MAGIC. An entry counts
 * if and only if all of its 64 bytes are there.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define BUFFER_BYTES (1u << 20)

/* Looks at a file to be continued. ret: 0 with the stream at its end; -USH_EPARSE. */
static int continue_file(FILE *file)
{
	struct ush_ack_entry first;
	long size;

	if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
		return -USH_ESYSTEM;
	if (size == 0)
		return 0;
	rewind(file);
	if (fread(&first, sizeof(first), 1, file) != 1 || first.magic != USH_ACK_MAGIC)
		return -USH_EPARSE;
	/* A run that was killed may have left part of an entry. */
	size -= size % (long)sizeof(first);
	if (ftruncate(fileno(file), size) != 0 || fseek(file, 0, SEEK_END) != 0)
		return -USH_ESYSTEM;
	return 0;
}

int load_ack_open(struct load *load, struct ush_message *message)
{
	const struct ush_ack_entry first = {.magic = USH_ACK_MAGIC};
	const char *path = load->options.ack_file;
	FILE *file;

	if (path == NULL)
		return 0;
	file = fopen(path, load->options.append ? "a+b" : "wb");
	if (file == NULL) {
		ush_message_set(message, "acknowledgement file %s: %s", path, strerror(errno));
		return ush_error_from_errno(errno);
	}
	setvbuf(file, NULL, _IOFBF, BUFFER_BYTES);
	if (load->options.append && continue_file(file) != 0) {
		ush_message_set(message,
			"%s is no acknowledgement file; name another, or leave --append out", path);
		fclose(file);
		return -USH_EPARSE;
	}
	if (ftell(file) == 0)
		fwrite_unlocked(&first, sizeof(first), 1, file);
	load->ack = file;
	return 0;
}

void load_ack_write(struct load *load, const struct load_slot *slot, const struct ush_reply *reply)
{
	const struct ush_ack_entry entry = {
		.user = slot->request.user,
		.hold = reply->hold,
		.sequence = reply->sequence,
		.mask = slot->request.mask,
		.event = slot->request.event,
		.request_id = slot->request.request_id,
		.row = slot->request.row,
		.op = slot->request.op,
		.status = reply->status,
		.leg_count = slot->request.op == USH_OP_RESERVE ? slot->leg_count : 0,
		.amount = reply->amount,
	};

	if (load->ack == NULL)
		return;
	fwrite_unlocked(&entry, sizeof(entry), 1, load->ack);
	load->stats.ack_entries++;
}

int load_ack_close(struct load *load, struct ush_message *message)
{
	FILE *file = load->ack;
	bool bad;

	if (file == NULL)
		return 0;
	load->ack = NULL;
	bad = fflush(file) != 0 || ferror(file) != 0;
	bad |= fclose(file) != 0;
	if (bad) {
		ush_message_set(message,
			"acknowledgement file %s could not be written whole: %s; do not verify "
			"against it",
			load->options.ack_file, strerror(errno));
		return -USH_EIO;
	}
	return 0;
}
