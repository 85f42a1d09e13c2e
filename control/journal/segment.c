/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in a journal directory:
 *   box                              who wrote this journal
 *   lock                             held while a process has it
 *   seg-EEEEEEEE-BBBBBBBBBBBBBBBB.ush  segment: epoch, first block, both hexadecimal
 *   spare-NNNNNNNN.ush               a segment file waiting for use
 * Anything else is left alone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/internal.h"

void segment_name(char *name, uint32_t epoch, uint64_t first)
{
	snprintf(name, USH_DISK_NAME_MAX, "seg-%08" PRIx32 "-%016" PRIx64 ".ush", epoch, first);
}

void spare_name(char *name, uint32_t number)
{
	snprintf(name, USH_DISK_NAME_MAX, "spare-%08" PRIx32 ".ush", number);
}

int segment_list_reserve(struct segment_list *list)
{
	uint32_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
	struct segment *items;

	if (list->count < list->capacity)
		return 0;
	items = realloc(list->items, capacity * sizeof(*items));
	if (items == NULL)
		return -USH_ENOMEM;
	list->items = items;
	list->capacity = capacity;
	return 0;
}

int segment_list_add(struct segment_list *list, uint32_t epoch, uint64_t first)
{
	int error = segment_list_reserve(list);

	if (error != 0)
		return error;
	list->items[list->count].epoch = epoch;
	list->items[list->count].first = first;
	segment_name(list->items[list->count].name, epoch, first);
	list->count++;
	return 0;
}

int segment_list_add_spare(struct segment_list *list, uint32_t number)
{
	if (list->spare_count == list->spare_capacity) {
		uint32_t capacity = list->spare_capacity == 0 ? 16 : list->spare_capacity * 2;
		uint32_t *spares = realloc(list->spares, capacity * sizeof(*spares));
		if (spares == NULL)
			return -USH_ENOMEM;
		list->spares = spares;
		list->spare_capacity = capacity;
	}
	list->spares[list->spare_count++] = number;
	if (number >= list->spare_next)
		list->spare_next = number + 1;
	return 0;
}

int segment_list_note(void *argument, const char *name)
{
	struct segment_list *list = argument;
	char canonical[USH_DISK_NAME_MAX];
	uint32_t epoch, number;
	uint64_t first;

	if (strcmp(name, "box") == 0) {
		list->has_box = true;
	} else if (sscanf(name, "seg-%8" SCNx32 "-%16" SCNx64 ".ush", &epoch, &first) == 2) {
		segment_name(canonical, epoch, first);
		if (strcmp(name, canonical) == 0)
			return segment_list_add(list, epoch, first);
	} else if (sscanf(name, "spare-%8" SCNx32 ".ush", &number) == 1) {
		spare_name(canonical, number);
		if (strcmp(name, canonical) == 0)
			return segment_list_add_spare(list, number);
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct segment *left = a, *right = b;

	if (left->epoch != right->epoch)
		return left->epoch < right->epoch ? -1 : 1;
	return left->first < right->first ? -1 : left->first > right->first;
}

int segment_list_read(
	struct segment_list *list, const struct ush_disk *disk, struct ush_message *message)
{
	int error = disk->list(disk->context, segment_list_note, list);

	if (error != 0) {
		ush_message_set(
			message, "cannot list the journal directory: %s", ush_error_text(error));
		return error;
	}
	if (list->count != 0)
		qsort(list->items, list->count, sizeof(*list->items), compare);
	return 0;
}

void segment_list_free(struct segment_list *list)
{
	free(list->items);
	free(list->spares);
	*list = (struct segment_list){0};
}
