/* SPDX-License-Identifier: Apache-2.0 */
/* Which seats there are: from a compiled venue image, or by asking the appliance. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "names.h"

int load_venue_make(struct load_venue *venue, const uint64_t *seats, uint32_t row_count,
	uint32_t section_count, uint32_t group, struct ush_message *message)
{
	memset(venue, 0, sizeof(*venue));
	venue->row_count = row_count;
	venue->section_count = section_count;
	venue->seats = calloc(row_count + 1u, sizeof(venue->seats[0]));
	venue->starts = calloc(row_count + 1u, sizeof(venue->starts[0]));
	venue->base = calloc(row_count + 1u, sizeof(venue->base[0]));
	venue->usable = calloc(row_count + 1u, sizeof(venue->usable[0]));
	if (venue->seats == NULL || venue->starts == NULL || venue->base == NULL ||
		venue->usable == NULL) {
		load_venue_free(venue);
		ush_message_set(message, "no memory for %u rows", row_count);
		return -USH_ENOMEM;
	}
	for (uint32_t row = 0; row < row_count; row++) {
		uint64_t starts = seats[row];

		for (uint32_t i = 1; i < group; i++)
			starts &= seats[row] >> i;
		venue->seats[row] = seats[row];
		venue->starts[row] = starts;
		venue->base[row] = venue->seat_count;
		venue->seat_count += ush_popcount64(seats[row]);
		if (starts != 0)
			venue->usable[venue->usable_count++] = row;
	}
	if (venue->usable_count == 0) {
		load_venue_free(venue);
		ush_message_set(message, "no row has %u adjacent seats on sale", group);
		return -USH_EINVAL;
	}
	return 0;
}

void load_venue_free(struct load_venue *venue)
{
	free(venue->seats);
	free(venue->starts);
	free(venue->base);
	free(venue->usable);
	memset(venue, 0, sizeof(*venue));
}

static int read_all(const char *path, void **data, size_t *size, struct ush_message *message)
{
	FILE *file = fopen(path, "rb");
	long end;

	*data = NULL;
	*size = 0;
	if (file == NULL) {
		ush_message_set(message, "venue image %s: %s", path, strerror(errno));
		return ush_error_from_errno(errno);
	}
	if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 &&
		fseek(file, 0, SEEK_SET) == 0) {
		*size = (size_t)end;
		*data = malloc(*size + 1);
		if (*data != NULL && fread(*data, 1, *size, file) != *size) {
			free(*data);
			*data = NULL;
		}
	}
	fclose(file);
	if (*data == NULL) {
		ush_message_set(message, "venue image %s: cannot be read", path);
		return -USH_EIO;
	}
	return 0;
}

/* ret: NULL, or what is wrong with the image. */
static const char *image_fault(void *data, size_t size)
{
	struct ush_venue_header *header = data;
	uint32_t crc, found;
	uint64_t want;

	if (size < sizeof(*header) || header->magic != USH_VENUE_MAGIC)
		return "is no venue image; make one with `usher event compile`";
	if (header->version != USH_VENUE_VERSION)
		return "is of another version; compile the venue again";
	want = sizeof(*header) + (uint64_t)header->tier_count * sizeof(struct ush_venue_tier) +
	       (uint64_t)header->section_count * sizeof(struct ush_venue_section) +
	       (uint64_t)header->row_count * sizeof(struct ush_venue_row) + header->label_bytes;
	if (header->file_bytes != size || want != size || header->row_count > USH_EVENT_ROWS_MAX)
		return "is cut or has grown; compile the venue again";
	crc = header->crc;
	header->crc = 0;
	found = ush_crc32c(0, data, size);
	header->crc = crc;
	return crc == found ? NULL : "is damaged (CRC); compile the venue again";
}

int load_venue_read(
	struct load_venue *venue, const char *path, uint32_t group, struct ush_message *message)
{
	const struct ush_venue_header *header;
	const struct ush_venue_row *rows;
	const char *fault;
	uint64_t *seats;
	void *data;
	size_t size;
	int error;

	error = read_all(path, &data, &size, message);
	if (error != 0)
		return error;
	header = data;
	fault = image_fault(data, size);
	if (fault != NULL) {
		ush_message_set(message, "venue image %s %s", path, fault);
		free(data);
		return -USH_ECORRUPT;
	}
	rows = (const struct ush_venue_row *)((const char *)data + sizeof(*header) +
					      header->tier_count * sizeof(struct ush_venue_tier) +
					      header->section_count *
						      sizeof(struct ush_venue_section));
	seats = calloc(header->row_count + 1u, sizeof(*seats));
	if (seats == NULL) {
		ush_message_set(message, "no memory for %u rows", header->row_count);
		free(data);
		return -USH_ENOMEM;
	}
	for (uint32_t row = 0; row < header->row_count; row++)
		seats[row] = rows[row].seats & ~rows[row].house;
	error = load_venue_make(
		venue, seats, header->row_count, header->section_count, group, message);
	free(seats);
	free(data);
	return error;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* A QUERY_SECTION padded so that the answer may be as long as a request can be. */
struct question {
	struct ush_request request;
	struct ush_extension_header pad;
	uint8_t zero[USH_PAYLOAD_BYTES_MAX - 64 - 8];
};
static_assert(sizeof(struct question) == USH_PAYLOAD_BYTES_MAX, "as long as a request can be");

/* out: answer: the message of a datagram that has our cookie. ret: its size, or 0: none has. */
static uint32_t find_answer(
	const struct load_received *datagram, const struct question *question, uint8_t *answer)
{
	struct load_received message[LOAD_PACK_MAX];
	const struct ush_reply *reply = (const struct ush_reply *)answer;
	uint32_t count = load_pack_cut(datagram, message);

	for (uint32_t i = 0; i < count; i++) {
		if (message[i].bytes < sizeof(*reply) || message[i].bytes > USH_PAYLOAD_BYTES_MAX)
			continue;
		memcpy(answer, message[i].payload, message[i].bytes);
		if (reply->magic == USH_REPLY_MAGIC && reply->cookie == question->request.cookie &&
			reply->size == message[i].bytes)
			return message[i].bytes;
	}
	return 0;
}

/* Sends until an answer with our cookie came. out: answer. ret: its size, or 0 after wait_ns. */
static uint32_t ask(struct load_transport *transport, const struct question *question,
	uint64_t wait_ns, uint8_t *answer)
{
	const struct load_packet packet = {.head = question, .head_bytes = sizeof(*question)};
	struct load_received received[LOAD_BURST];
	uint64_t begin = load_clock_ns(), sent = 0, now = begin;

	for (; now - begin < wait_ns && !load_stopped(); now = load_clock_ns()) {
		uint32_t count;

		if (now - sent > 100 * LOAD_NS_PER_MS) {
			transport->tend(transport, now);
			(void)transport->send(transport, &packet, 1);
			sent = now;
		}
		count = transport->receive(transport, received);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t bytes = find_answer(&received[i], question, answer);

			if (bytes != 0)
				return bytes;
		}
		if (count == 0)
			transport->wait(transport, LOAD_NS_PER_MS);
	}
	return 0;
}

/* Copies the ROWS extension of an answer. ret: rows copied. */
static uint32_t take_rows(const uint8_t *answer, uint32_t bytes, uint64_t *seats, uint32_t room)
{
	struct ush_extension_header header;
	uint32_t at = sizeof(struct ush_reply), count;

	while (at + sizeof(header) <= bytes) {
		memcpy(&header, answer + at, sizeof(header));
		if (header.size < sizeof(header) || at + header.size > bytes)
			return 0;
		if (header.type == USH_EXTENSION_ROWS) {
			count = (uint32_t)(header.size - sizeof(header)) / 8;
			if (count > room)
				return 0;
			memcpy(seats, answer + at + sizeof(header), count * sizeof(*seats));
			return count;
		}
		at += header.size;
	}
	return 0;
}

/* Asks for all rows of one section. ret: rows; 0: no such section; or a negative code. */
static int ask_section(struct load_transport *transport, struct question *question,
	uint64_t wait_ns, uint64_t *seats, uint32_t room, struct ush_message *message)
{
	uint8_t answer[USH_PAYLOAD_BYTES_MAX] USH_ALIGNED(8);
	const struct ush_reply *reply = (const struct ush_reply *)answer;
	uint32_t taken = 0;

	for (;;) {
		uint32_t bytes, count;

		question->request.row = (uint16_t)taken;
		question->request.cookie++;
		bytes = ask(transport, question, wait_ns, answer);
		if (bytes == 0) {
			ush_message_set(message,
				"no answer to QUERY_SECTION of event %u; is usherd running and the "
				"address right? (or give --venue)",
				question->request.event);
			return -USH_EBUSY;
		}
		if (reply->status == USH_STATUS_BUSY || reply->status == USH_STATUS_RETRY)
			continue;
		if (reply->status == USH_STATUS_BAD_REQUEST && reply->detail == USH_FAULT_SECTION &&
			taken == 0)
			return 0;
		if (reply->status != USH_STATUS_OK) {
			ush_message_set(message,
				"event %u: QUERY_SECTION was answered %s; is the event "
				"loaded? (usher event load)",
				question->request.event, usher_name_status(reply->status));
			return -USH_ENOENT;
		}
		count = take_rows(answer, bytes, seats + taken, room - taken);
		taken += count;
		if (reply->detail == 0 || count == 0)
			return (int)taken;
	}
}

int load_venue_ask(struct load_venue *venue, struct load_transport *transport, uint32_t event,
	uint32_t group, uint64_t wait_ns, struct ush_message *message)
{
	struct question question = {.request = {.magic = USH_REQUEST_MAGIC,
					    .version = USH_VERSION,
					    .op = USH_OP_QUERY_SECTION,
					    .size = sizeof(struct question),
					    .extension_count = 1,
					    .event = event,
					    .cookie = LOAD_COOKIE_BEFORE},
		.pad = {.type = USH_EXTENSION_PAD,
			.size = sizeof(struct question) - sizeof(struct ush_request)}};
	uint64_t *seats = calloc(USH_EVENT_ROWS_MAX, sizeof(*seats));
	uint32_t row_count = 0, section;
	int got = 0;

	if (seats == NULL) {
		ush_message_set(message, "no memory for %u rows", USH_EVENT_ROWS_MAX);
		return -USH_ENOMEM;
	}
	for (section = 0; section < USH_EVENT_SECTIONS_MAX; section++) {
		question.request.section = (uint16_t)section;
		got = ask_section(transport, &question, wait_ns, seats + row_count,
			USH_EVENT_ROWS_MAX - row_count, message);
		if (got <= 0)
			break;
		row_count += (uint32_t)got;
	}
	if (got >= 0)
		got = load_venue_make(venue, seats, row_count, section, group, message);
	free(seats);
	return got;
}
