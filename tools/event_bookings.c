/* SPDX-License-Identifier: Apache-2.0 */
#include "event_bookings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "names.h"
#include "usher.h"

#define CALL_MS 30000u
#define ARG_REFUND (1ull << 32)
/* A page that ends before a hold that is being changed is asked for again; one that stands still
 * for so many has met a fault of ours. */
#define STILL_MAX 100000u

union page {
	uint8_t bytes[USH_CONTROL_BYTES_MAX];
	struct ush_reply head;
};

static const char *state_name(uint8_t state)
{
	switch (state) {
#define X(name, value) \
	case value: \
		return #name;
		USH_HOLD_STATE_EACH(X)
#undef X
	default:
		return "?";
	}
}

/* ret: entries of the page, all of them checked to be there; -1: not a page. */
static int64_t page_entries(const union page *page, size_t bytes)
{
	struct ush_extension_header header;

	if (page->head.extension_count == 0)
		return 0;
	if (bytes < USH_REPLY_BYTES + sizeof(header))
		return -1;
	memcpy(&header, page->bytes + USH_REPLY_BYTES, sizeof(header));
	if (header.type != USH_EXTENSION_BOOKINGS || USH_REPLY_BYTES + header.size != bytes ||
		header.size != sizeof(header) + (uint64_t)header.value * sizeof(struct ush_booking))
		return -1;
	return header.value;
}

/* A booking is all entries of one hold. ret: how many were printed. */
static uint32_t print_one(const struct ush_booking *entry, bool json)
{
	uint64_t amount = 0;
	uint32_t seats = 0;

	for (uint32_t i = 0; i < entry->legs; i++) {
		amount += entry[i].amount;
		seats += ush_popcount64(entry[i].mask);
	}
	if (!json) {
		printf("%016" PRIx64 " user %" PRIu64 " %s version %u amount %" PRIu64 " seats %u:",
			entry->hold, entry->user, state_name(entry->state), entry->version, amount,
			seats);
		for (uint32_t i = 0; i < entry->legs; i++)
			printf(" %u/0x%" PRIx64, entry[i].row, entry[i].mask);
		printf("\n");
		return entry->legs;
	}
	printf("{\"hold\":\"%016" PRIx64 "\",\"user\":%" PRIu64
	       ",\"state\":\"%s\",\"version\":%u,\"amount\":%" PRIu64 ",\"deadline_ns\":%" PRIu64
	       ",\"seat_count\":%u,\"seats\":[",
		entry->hold, entry->user, state_name(entry->state), entry->version, amount,
		entry->deadline_ns, seats);
	for (uint32_t i = 0; i < entry->legs; i++)
		printf("%s{\"row\":%u,\"mask\":\"0x%" PRIx64 "\",\"amount\":%u}", i == 0 ? "" : ",",
			entry[i].row, entry[i].mask, entry[i].amount);
	printf("]}\n");
	return entry->legs;
}

static int print_page(const union page *page, size_t bytes, bool json)
{
	static struct ush_booking entries[USH_CONTROL_BYTES_MAX / sizeof(struct ush_booking)];
	int64_t count = page_entries(page, bytes);

	if (count > 0)
		memcpy(entries, page->bytes + USH_REPLY_BYTES + sizeof(struct ush_extension_header),
			(size_t)count * sizeof(entries[0]));
	for (int64_t i = 0; i < count;) {
		if (entries[i].legs == 0 || i + entries[i].legs > count)
			return -1;
		i += print_one(&entries[i], json);
	}
	return count < 0 ? -1 : 0;
}

/* ret: 0, or -1 after a message. */
static int print_pages(struct ush_client *client, const struct event_bookings *what)
{
	static union page page;
	struct ush_message message = {""};
	uint32_t still = 0;
	uint64_t at = 0;

	do {
		struct ush_request request;
		size_t bytes = 0;

		ush_client_request(&request, USH_OP_BOOKINGS);
		request.event = what->event;
		request.arg = at | (what->refund ? ARG_REFUND : 0);
		if (ush_client_call(client, &request, -1, CALL_MS, page.bytes, &bytes, &message) !=
			0) {
			fprintf(stderr, "%s\n", message.text);
			return -1;
		}
		if (page.head.status != USH_STATUS_OK) {
			fprintf(stderr, "event %u: usherd refuses: %s%s\n", what->event,
				usher_name_status(page.head.status),
				page.head.status == USH_STATUS_UNKNOWN_EVENT ? ": no such event"
									     : "");
			return -1;
		}
		still = page.head.detail == at ? still + 1 : 0;
		if (print_page(&page, bytes, what->json) != 0 || still > STILL_MAX) {
			fprintf(stderr, "usher event bookings: the answer makes no sense\n");
			return -1;
		}
		at = page.head.detail;
	} while (at != 0);
	return 0;
}

int event_bookings(const struct event_bookings *what)
{
	struct ush_message message = {""};
	struct ush_client client;
	int ret;

	if (ush_client_open(&client, what->socket, &message) != 0) {
		fprintf(stderr, "%s\n", message.text);
		return USHER_FAILED;
	}
	ret = print_pages(&client, what);
	ush_client_close(&client);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "usher event bookings: the output could not be written\n");
		return USHER_FAILED;
	}
	return ret == 0 ? USHER_OK : USHER_FAILED;
}
