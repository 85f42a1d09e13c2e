/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/client_room.h"

#define TOKEN_BYTES 32u

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool client_ticket_read(const char *text, uint8_t ticket[CLIENT_TICKET_BYTES])
{
	if (strlen(text) != 2 * CLIENT_TICKET_BYTES)
		return false;
	for (uint32_t i = 0; i < CLIENT_TICKET_BYTES; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ticket[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void print_digits(const char *name, const uint8_t *bytes, uint32_t count, bool json)
{
	printf(json ? ",\"%s\":\"" : "%-10s ", name);
	for (uint32_t i = 0; i < count; i++)
		printf("%02x", bytes[i]);
	printf(json ? "\"" : "\n");
}

static void print_ticket(const struct ush_reply *reply, bool json)
{
	struct ush_extension_header header = {.type = USH_EXTENSION_TICKET,
		.size = CLIENT_TICKET_BYTES,
		.value = reply->detail & 0xffff};
	uint8_t bytes[CLIENT_TICKET_BYTES];

	memcpy(bytes, &header, 8);
	memcpy(bytes + 8, &reply->amount, 8);
	memcpy(bytes + 16, &reply->hold, 8);
	if (json)
		printf(",\"tier\":%u,\"number\":%" PRIu64 ",\"repeat\":%s,\"slow\":%s",
			reply->detail & 0xff, reply->amount,
			(reply->detail >> 16 & 1) != 0 ? "true" : "false",
			(reply->detail >> 17 & 1) != 0 ? "true" : "false");
	else
		printf("%-10s tier %u, number %" PRIu64 "%s%s\n", "place", reply->detail & 0xff,
			reply->amount, (reply->detail >> 16 & 1) != 0 ? ", as before" : "",
			(reply->detail >> 17 & 1) != 0 ? ", in the slow queue" : "");
	print_digits("ticket", bytes, sizeof(bytes), json);
}

static void print_token(const struct ush_reply *reply, uint64_t user, bool json)
{
	struct ush_extension_header header = {
		.type = USH_EXTENSION_TOKEN, .size = TOKEN_BYTES, .value = reply->detail};
	uint8_t bytes[TOKEN_BYTES];

	memcpy(bytes, &header, 8);
	memcpy(bytes + 8, &user, 8);
	memcpy(bytes + 16, &reply->deadline_ns, 8);
	memcpy(bytes + 24, &reply->hold, 8);
	print_digits("token", bytes, sizeof(bytes), json);
}

void client_room_print(const struct ush_reply *reply, uint64_t user, bool json)
{
	if (reply->status == USH_STATUS_WAITING) {
		if (json)
			printf(",\"before\":%" PRIu64, reply->amount);
		else
			printf("%-10s %" PRIu64 "\n", "before", reply->amount);
		return;
	}
	if (reply->status != USH_STATUS_OK)
		return;
	if (reply->op == USH_OP_JOIN)
		print_ticket(reply, json);
	else if (reply->op == USH_OP_EXCHANGE)
		print_token(reply, user, json);
}
