/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places of a closed lobby: read from usherd when somebody wants them, kept in memory with what
 * makes a proof cheap.
 *
 * Owns:  eight bytes a place and about a thousand hashes, for each room whose draw is asked about.
 * Reads: usherd's pages of places.
 * Never: changed once it is made.
 */
#ifndef USH_ENTRY_LOBBY_H
#define USH_ENTRY_LOBBY_H

#include "entry/internal.h"
#include "room/draw.h"
#include "room/room_view.h"

struct entry_lobby {
	uint32_t refs; /* of the loop */
	/* What usherd said with it; drawn or not. */
	struct ush_room_view view;
	/* With users and root; seed and beacon if it was drawn. */
	struct ush_draw_file draw;
	/* Roots of blocks of 2^block_bits leaves, about as many as a block has leaves. */
	uint32_t block_bits;
	uint32_t block_count;
	uint8_t (*block)[USH_HASH_BYTES];
	/* The order; NULL: not drawn. */
	struct ush_draw *order;
	void *tables;
};

/*
 * Gives the lobby of an event as it stands now. status: OK: it is closed, and somebody is in it:
 * the lobby, with one reference, which is the caller's; ROOM_PHASE: it is open; NO_HOLD: nobody is
 * in it; otherwise as usherd said; RETRY: it did not answer, or somebody is reading it. lobby NULL
 * unless OK; BUSY: all is closed: the entry is no more. May be called from within. fresh: usherd is
 * asked; else what it said within the last seconds will do. by: the loop.
 */
typedef void entry_lobby_done(void *context, uint8_t status, struct entry_lobby *lobby);
void entry_lobby_get(
	struct ush_entry *entry, uint32_t event, bool fresh, entry_lobby_done *done, void *context);
void entry_lobby_release(struct entry_lobby *lobby);

/* ret: false: there is no such place, or it is not this user's. out: draw->proof. cost: hashes of
 * a block and of all blocks: not for loops. */
bool entry_lobby_prove(const struct entry_lobby *lobby, uint64_t user, uint32_t tier,
	uint64_t index, struct ush_draw_proof *proof);

#endif /* USH_ENTRY_LOBBY_H */
