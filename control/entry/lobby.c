/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ROOM_SHOW first: it says whether the lobby that is in memory still is the one. If not: pages of
 * places, one after another; then the hashes, in a job.
 *
 * Failure modes: usherd does not answer a page for three seconds: RETRY; it begins anew with the
 * next who asks.
 */
#include "entry/lobby.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

struct loading {
	struct ush_entry *entry;
	entry_lobby_done *done;
	void *context;
	struct event *again;
	uint32_t event;
	uint32_t tries;
	uint64_t line;
	uint8_t op;
	struct entry_lobby *lobby;
};

/* ---- life ---- */

static void lobby_free(struct entry_lobby *lobby)
{
	ush_draw_file_close(&lobby->draw);
	free(lobby->block);
	free(lobby->order);
	free(lobby->tables);
	free(lobby);
}

void entry_lobby_release(struct entry_lobby *lobby)
{
	if (lobby != NULL && --lobby->refs == 0)
		lobby_free(lobby);
}

/* With BUSY all is closed, and nothing of the entry may be touched. */
static void end(struct loading *loading, uint8_t status)
{
	struct entry_lobby *lobby = loading->lobby;
	struct entry_room *room =
		status == USH_STATUS_BUSY ? NULL : loading->entry->by_event[loading->event];

	if (room != NULL)
		room->loading = false;
	if (status != USH_STATUS_OK) {
		entry_lobby_release(lobby);
		lobby = NULL;
	}
	if (loading->again != NULL)
		event_free(loading->again);
	loading->done(loading->context, status, lobby);
	free(loading);
}

/* ---- hashes ---- */

struct block_of {
	const struct entry_lobby *lobby;
	uint64_t first;
};

static void leaf_of(void *context, uint64_t at, uint8_t leaf[USH_HASH_BYTES])
{
	const struct block_of *of = context;
	const struct ush_draw_file *draw = &of->lobby->draw;
	uint64_t place = of->first + at, end = 0;
	uint32_t tier = 0;

	while (place >= (end += draw->counts[tier]))
		tier++;
	ush_draw_leaf(tier, draw->users[place], leaf);
}

static uint64_t leaves_of(const struct entry_lobby *lobby, uint64_t block)
{
	uint64_t left = lobby->draw.count - (block << lobby->block_bits);
	uint64_t whole = 1ull << lobby->block_bits;

	return left < whole ? left : whole;
}

static void root_of_block(void *context, uint64_t at, uint8_t hash[USH_HASH_BYTES])
{
	const struct entry_lobby *lobby = context;

	memcpy(hash, lobby->block[at], USH_HASH_BYTES);
}

/* Blocks are whole subtrees of the tree, and the tree of their roots is the rest of it: both split
 * at the largest power of two below what is left. */
static void hash_all(struct entry_lobby *lobby)
{
	struct ush_merkle top, tree;
	uint8_t leaf[USH_HASH_BYTES];

	ush_merkle_start(&top);
	for (uint64_t block = 0; block < lobby->block_count; block++) {
		struct block_of of = {.lobby = lobby, .first = block << lobby->block_bits};
		uint64_t leaves = leaves_of(lobby, block);

		ush_merkle_start(&tree);
		for (uint64_t i = 0; i < leaves; i++) {
			leaf_of(&of, i, leaf);
			ush_merkle_add(&tree, leaf);
		}
		ush_merkle_root(&tree, lobby->block[block]);
		ush_merkle_add(&top, lobby->block[block]);
	}
	ush_merkle_root(&top, lobby->draw.root);
}

bool entry_lobby_prove(const struct entry_lobby *lobby, uint64_t user, uint32_t tier,
	uint64_t index, struct ush_draw_proof *proof)
{
	const struct ush_draw_file *draw = &lobby->draw;
	uint8_t outer[USH_MERKLE_PATH_MAX][USH_HASH_BYTES];
	uint32_t count;
	uint64_t place = index, block;
	struct block_of of = {.lobby = lobby};

	if (tier >= USH_DRAW_TIERS || index >= draw->counts[tier])
		return false;
	for (uint32_t i = 0; i < tier; i++)
		place += draw->counts[i];
	if (draw->users[place] != user)
		return false;
	block = place >> lobby->block_bits;
	of.first = block << lobby->block_bits;
	*proof = (struct ush_draw_proof){.user = user, .tier = tier, .index = (uint32_t)index};
	proof->path_count = ush_merkle_path(
		leaf_of, &of, place - of.first, leaves_of(lobby, block), proof->path);
	count = ush_merkle_path(
		root_of_block, (void *)(uintptr_t)lobby, block, lobby->block_count, outer);
	USH_ASSERT(proof->path_count + count <= USH_MERKLE_PATH_MAX);
	memcpy(proof->path[proof->path_count], outer, (size_t)count * USH_HASH_BYTES);
	proof->path_count += count;
	return true;
}

static int hash_job(struct ush_db_conn *conn, void *context)
{
	const struct loading *loading = context;
	struct entry_lobby *lobby = loading->lobby;
	uint8_t key[USH_DRAW_KEY_BYTES];

	(void)conn;
	hash_all(lobby);
	if (lobby->draw.beacon_bytes == 0)
		return 0;
	/* usherd published the root; if it is another, no proof would lead to it. */
	if (memcmp(lobby->draw.root, lobby->view.drawn.root, USH_HASH_BYTES) != 0)
		return -USH_ECORRUPT;
	if (lobby->order == NULL) {
		lobby->order = calloc(1, sizeof(*lobby->order));
		lobby->tables = malloc(ush_draw_bytes(lobby->draw.count));
	}
	if (lobby->order == NULL || lobby->tables == NULL)
		return -USH_ENOMEM;
	ush_draw_key(&lobby->draw, key);
	ush_draw_open(lobby->order, lobby->tables, lobby->draw.counts, key, ush_sha256);
	return 0;
}

static void hashed(void *context, int result)
{
	struct loading *loading = context;
	struct ush_entry *entry = loading->entry;
	struct entry_room *room;

	if (!entry_call_over(entry)) {
		end(loading, USH_STATUS_BUSY);
		return;
	}
	if (result != 0) {
		ush_core_log(USH_CORE_ERROR, "entry", "the draw of a room cannot be computed",
			"error", ush_error_text(result), NULL);
		end(loading, USH_STATUS_RETRY);
		return;
	}
	room = entry->by_event[loading->event];
	if (room != NULL) {
		entry_lobby_release(room->lobby);
		room->lobby = loading->lobby;
		room->lobby->refs++;
	}
	end(loading, USH_STATUS_OK);
}

/* ---- asking ---- */

static void ask(struct loading *loading);

static void on_again(evutil_socket_t fd, short what, void *context)
{
	struct loading *loading = context;

	(void)fd;
	(void)what;
	if (entry_call_over(loading->entry))
		ask(loading);
	else
		end(loading, USH_STATUS_BUSY);
}

static void later(struct loading *loading)
{
	if (loading->again == NULL)
		loading->again = evtimer_new(loading->entry->core->base, on_again, loading);
	USH_ASSERT(loading->again != NULL);
	loading->entry->pending++;
	evtimer_add(loading->again, &(struct timeval){.tv_usec = ENTRY_AGAIN_MS * 1000});
}

/* ret: true if the lobby in memory is the one of the view. */
static bool is_known(const struct entry_lobby *lobby, const struct ush_room_view *view)
{
	return lobby != NULL &&
	       memcmp(&lobby->view.opened, &view->opened, sizeof(view->opened)) == 0 &&
	       memcmp(&lobby->view.drawn, &view->drawn, sizeof(view->drawn)) == 0 &&
	       memcmp(lobby->view.status.counts, view->status.counts,
		       USH_DRAW_TIERS * sizeof(view->status.counts[0])) == 0;
}

static void on_view(struct loading *loading, const struct ush_room_view *view)
{
	const struct entry_room *room = loading->entry->by_event[loading->event];
	struct entry_lobby *lobby;

	if (view->status.phase == USH_ROOM_PHASE_LOBBY) {
		end(loading, USH_STATUS_ROOM_PHASE);
		return;
	}
	if (room != NULL && is_known(room->lobby, view)) {
		loading->lobby = room->lobby;
		loading->lobby->refs++;
		end(loading, USH_STATUS_OK);
		return;
	}
	lobby = calloc(1, sizeof(*lobby));
	USH_ASSERT(lobby != NULL);
	loading->lobby = lobby;
	lobby->refs = 1;
	lobby->view = *view;
	ush_room_view_draw(view, &lobby->draw);
	if (lobby->draw.count == 0) {
		end(loading, USH_STATUS_NO_HOLD);
		return;
	}
	while (1ull << 2 * lobby->block_bits < lobby->draw.count)
		lobby->block_bits++;
	lobby->block_count = (uint32_t)((lobby->draw.count + (1ull << lobby->block_bits) - 1) >>
					lobby->block_bits);
	lobby->block = calloc(lobby->block_count, sizeof(*lobby->block));
	lobby->draw.users = calloc(lobby->draw.count, sizeof(*lobby->draw.users));
	if (lobby->block == NULL || lobby->draw.users == NULL) {
		end(loading, USH_STATUS_RETRY);
		return;
	}
	loading->op = USH_OP_ROOM_PLACES;
	ask(loading);
}

static void on_page(struct loading *loading, const struct ush_reply *reply, size_t bytes)
{
	if (!ush_room_places_take(reply, bytes, &loading->lobby->draw)) {
		ush_core_log(USH_CORE_ERROR, "entry", "a page of places that makes no sense", NULL);
		end(loading, USH_STATUS_RETRY);
		return;
	}
	loading->line = reply->detail;
	loading->tries = 0;
	if (loading->line != 0) {
		ask(loading);
		return;
	}
	loading->entry->pending++;
	ush_db_run(loading->entry->core->db, USH_DB_READ, hash_job, hashed, loading);
}

static void answered(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct loading *loading = context;
	bool busy = result != 0 || reply->status == USH_STATUS_RETRY ||
		    reply->status == USH_STATUS_BUSY;
	struct ush_room_view view;

	if (!entry_call_over(loading->entry)) {
		end(loading, USH_STATUS_BUSY);
		return;
	}
	if (busy && result != -USH_EBUSY && ++loading->tries < ENTRY_TRIES) {
		later(loading);
		return;
	}
	if (busy)
		end(loading, USH_STATUS_RETRY);
	else if (reply->status != USH_STATUS_OK)
		end(loading, reply->status);
	else if (loading->op == USH_OP_ROOM_PLACES)
		on_page(loading, reply, bytes);
	else if (ush_room_view_read(reply, bytes, &view))
		on_view(loading, &view);
	else
		end(loading, USH_STATUS_RETRY);
}

static void ask(struct loading *loading)
{
	struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = loading->op,
		.size = sizeof(request),
		.event = loading->event,
		.arg = loading->line};

	loading->entry->pending++;
	ush_link_call(loading->entry->core->link, &request, -1, ENTRY_CALL_MS, answered, loading);
}

void entry_lobby_get(
	struct ush_entry *entry, uint32_t event, bool fresh, entry_lobby_done *done, void *context)
{
	struct entry_room *room = entry_room_of(entry, event);
	struct loading *loading;

	if (!fresh && room != NULL && entry_room_is_fresh(room) &&
		is_known(room->lobby, &room->view)) {
		room->lobby->refs++;
		done(context, USH_STATUS_OK, room->lobby);
		return;
	}
	/* One at a time: a lobby of millions is read once. */
	if (room == NULL || room->loading) {
		done(context, USH_STATUS_RETRY, NULL);
		return;
	}
	loading = calloc(1, sizeof(*loading));
	USH_ASSERT(loading != NULL);
	*loading = (struct loading){.entry = entry,
		.done = done,
		.context = context,
		.event = event,
		.op = USH_OP_ROOM_SHOW};
	room->loading = true;
	ask(loading);
}
