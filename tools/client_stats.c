/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client_stats.h"
#include "names.h"

#define CALL_MS 2000u

/* Takes one line `name value`. */
static int take_line(struct client_stats *stats, const char *line, size_t size)
{
	const char *space = memchr(line, ' ', size);
	struct client_stat *stat;
	size_t name_size;

	if (space == NULL)
		return -USH_EPARSE;
	if (stats->count == stats->room) {
		uint32_t room = stats->room == 0 ? 1024 : stats->room * 2;

		stat = realloc(stats->stat, room * sizeof(*stat));
		if (stat == NULL)
			return -USH_ENOMEM;
		stats->stat = stat;
		stats->room = room;
	}
	stat = &stats->stat[stats->count++];
	name_size = ush_min64((uint64_t)(space - line), sizeof(stat->name) - 1);
	memcpy(stat->name, line, name_size);
	stat->name[name_size] = '\0';
	stat->value = strtoull(space + 1, NULL, 10);
	return 0;
}

static int take_page(struct client_stats *stats, const char *text)
{
	const char *end;
	int error = 0;

	for (; error == 0 && (end = strchr(text, '\n')) != NULL; text = end + 1)
		error = take_line(stats, text, (size_t)(end - text));
	return error;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int client_stats_read(
	struct ush_client *client, struct client_stats *stats, struct ush_message *message)
{
	static uint8_t page[USH_CONTROL_BYTES_MAX] USH_ALIGNED(8);
	const struct ush_reply *reply = (const struct ush_reply *)(void *)page;
	struct ush_request request;
	uint64_t at = 0;

	stats->count = 0;
	do {
		const char *text;
		size_t bytes = 0;
		int error;

		ush_client_request(&request, USH_OP_STATS);
		request.arg = at;
		error = ush_client_call(client, &request, -1, CALL_MS, page, &bytes, message);
		if (error != 0)
			return error;
		if (at == 0)
			stats->time_ns = monotonic_ns();
		text = ush_client_text(page, bytes);
		if (reply->status != USH_STATUS_OK || text == NULL || take_page(stats, text) != 0 ||
			(reply->detail != 0 && reply->detail <= at)) {
			ush_message_set(message, "STATS was answered %s and no page of counters",
				usher_name_status(reply->status));
			return -USH_EPARSE;
		}
		at = reply->detail;
	} while (at != 0);
	return 0;
}

uint64_t client_stats_value(const struct client_stats *stats, const char *name)
{
	for (uint32_t i = 0; i < stats->count; i++) {
		if (strcmp(stats->stat[i].name, name) == 0)
			return stats->stat[i].value;
	}
	return 0;
}

void client_stats_free(struct client_stats *stats)
{
	free(stats->stat);
	memset(stats, 0, sizeof(*stats));
}
