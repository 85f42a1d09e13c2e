/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usherd says of a waiting room, read, and as the documents that are published: the status
 * object of docs/room.md, the draw file of docs/draw.md.
 *
 * Owns:  both formats as they are written.
 * Reads: replies to ROOM_SHOW and ROOM_PLACES.
 * Never: sockets, clocks.
 */
#ifndef USH_ROOM_VIEW_H
#define USH_ROOM_VIEW_H

#include <jansson.h>

#include "base/base.h"
#include "room/draw_file.h"
#include "wire/wire.h"

/* What a reply to ROOM_SHOW has. */
struct ush_room_view {
	uint32_t event;
	uint64_t sequence;
	struct ush_room_status status;
	struct ush_room_open opened;
	struct ush_room_draw drawn; /* beacon_bytes 0: not drawn */
};

/* Reads a reply to ROOM_SHOW that is OK. ret: false: it has not what it should have. */
bool ush_room_view_read(const void *reply, size_t bytes, struct ush_room_view *view);

/* ret: true if two views say the same to the public, but for the sequence. */
bool ush_room_view_same(const struct ush_room_view *a, const struct ush_room_view *b);

/* ret: the status object, or NULL. in: version: what it says as its version. */
json_t *ush_room_view_json(const struct ush_room_view *view, uint64_t version);

/* The draw as far as a view has it, without the list: event, hashes, beacon, counts. */
void ush_room_view_draw(const struct ush_room_view *view, struct ush_draw_file *draw);

/* Puts a page of places, a reply to ROOM_PLACES, into draw->users, which has room for draw->count.
 * ret: false: one of them cannot be. */
bool ush_room_places_take(const void *reply, size_t bytes, struct ush_draw_file *draw);

/* ret: the draw file without its list, with its proof if it has one. Without a beacon's value: what
 * is published when the lobby is closed, format usher-lobby-1. */
json_t *ush_draw_json(const struct ush_draw_file *draw);

/* in: count: at most 64. ret: a string of hexadecimal digits. */
json_t *ush_hex_json(const uint8_t *bytes, size_t count);

/* A name of the wire table; "UNKNOWN". */
const char *ush_room_phase_name(uint32_t phase);

#endif /* USH_ROOM_VIEW_H */
