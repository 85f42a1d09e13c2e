/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `usher room` prints and writes: the status of a room for the public, the draw file.
 *
 * Owns:  nothing.
 * Reads: replies to ROOM_SHOW.
 * Never: sockets.
 */
#ifndef USH_ROOM_TEXT_H
#define USH_ROOM_TEXT_H

#include "base/base.h"
#include "room/draw_file.h"
#include "wire/wire.h"

struct room_view {
	uint32_t event;
	uint64_t sequence;
	struct ush_room_status status;
	struct ush_room_open opened;
	/* beacon_bytes 0: not drawn. */
	struct ush_room_draw drawn;
};

/* Reads a reply to ROOM_SHOW that is OK. ret: false: it has not what it should have. */
bool room_view_read(const void *reply, size_t size, struct room_view *view);

/* Prints the public status object (docs/room.md), or a table. */
void room_view_print(const struct room_view *view, bool json);

/* in: digits: 2 * count lower-case hexadecimal digits, then a zero or a line feed. ret: false: not
 * so. */
bool room_hex_read(const char *digits, uint8_t *bytes, size_t count);

void room_hex_print(const char *name, const uint8_t *bytes, size_t count);

/* Writes a draw file (docs/draw.md) without the list. err: -USH_EIO with a message. */
int room_draw_write(
	const char *path, const struct ush_draw_file *draw, struct ush_message *message);

/* Writes the list of places. err: -USH_EIO with a message. */
int room_list_write(
	const char *path, const struct ush_draw_file *draw, struct ush_message *message);

#endif /* USH_ROOM_TEXT_H */
