/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `usher room` prints and writes: the status of a room for the public, the draw file.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: sockets.
 */
#ifndef USH_ROOM_TEXT_H
#define USH_ROOM_TEXT_H

#include "base/base.h"
#include "room/draw_file.h"
#include "room/room_view.h"
#include "wire/wire.h"

/* Prints the public status object (docs/room.md), or a table. */
void room_view_print(const struct ush_room_view *view, bool json);

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
