/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The draw in public: root and counts once the lobby is closed, the draw file once it is drawn, and
 * to each buyer the proof of the own place (docs/draw.md). All of it is made of what usherd keeps
 * in its journal.
 */
#include <stdlib.h>
#include <string.h>

#include "entry/lobby.h"

void entry_refuse_lobby(struct ush_http_request *request, uint8_t status)
{
	struct ush_reply reply = {.status = status};

	if (status == USH_STATUS_ROOM_PHASE) {
		ush_http_problem(request, 409, "wrong_phase",
			json_pack("{s:s}", "phase", ush_room_phase_name(USH_ROOM_PHASE_LOBBY)),
			"the lobby is open: root and order come when it is closed and drawn");
	} else if (status == USH_STATUS_NO_HOLD) {
		ush_http_problem(request, 404, "no_draw", NULL,
			"nobody was in the lobby: there is nothing to draw");
	} else if (status == USH_STATUS_RETRY) {
		entry_not_ready(request, "the list of places");
	} else {
		entry_refuse(request, &reply);
	}
}

static void told(void *context, uint8_t status, struct entry_lobby *lobby)
{
	struct ush_http_request *request = context;
	bool drawn;

	if (status != USH_STATUS_OK) {
		entry_refuse_lobby(request, status);
		return;
	}
	drawn = lobby->draw.beacon_bytes != 0;
	/* After the draw it is the same for ever. */
	ush_http_set(request, "Cache-Control", drawn ? "public, max-age=300" : "public, max-age=1");
	ush_http_answer_json(request, 200, ush_draw_json(&lobby->draw));
	entry_lobby_release(lobby);
}

void entry_get_draw(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	uint64_t event;

	if (ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event) &&
		entry_rate(entry, request, 0))
		entry_lobby_get(entry, (uint32_t)event, false, told, request);
}

/* ---- the own place ---- */

struct proving {
	struct ush_entry *entry;
	struct ush_http_request *request;
	struct entry_lobby *lobby;
	struct ush_ticket ticket;
	uint64_t user;
	struct ush_draw_file out; /* with the proof, without the list */
	bool found;
};

static int prove_job(struct ush_db_conn *conn, void *context)
{
	struct proving *proving = context;

	(void)conn;
	proving->found = entry_lobby_prove(proving->lobby, proving->user, proving->ticket.tier,
		proving->ticket.number, &proving->out.proof);
	return 0;
}

static json_t *proof_json(struct proving *proving)
{
	const struct ush_draw *order = proving->lobby->order;
	struct ush_draw_proof *proof = &proving->out.proof;
	uint8_t leaf[USH_HASH_BYTES];
	json_t *object;

	proving->out.has_proof = true;
	object = ush_draw_json(&proving->out);
	ush_draw_leaf(proof->tier, proof->user, leaf);
	json_object_set_new(object, "leaf", ush_hex_json(leaf, sizeof(leaf)));
	json_object_set_new(object, "number",
		order == NULL ? json_null()
			      : json_integer((json_int_t)ush_draw_number(
					order, proof->tier, proof->index)));
	return object;
}

static void proved(void *context, int result)
{
	struct proving *proving = context;

	entry_call_over(proving->entry);
	if (result != 0)
		entry_not_ready(proving->request, "the proof");
	else if (!proving->found)
		ush_http_problem(proving->request, 403, "bad_ticket", NULL,
			"the lobby has no such place of this account: join again for the ticket");
	else
		ush_http_answer_json(proving->request, 200, proof_json(proving));
	entry_lobby_release(proving->lobby);
	free(proving);
}

static void lobby_there(void *context, uint8_t status, struct entry_lobby *lobby)
{
	struct proving *proving = context;

	if (status != USH_STATUS_OK) {
		entry_refuse_lobby(proving->request, status);
		free(proving);
		return;
	}
	proving->lobby = lobby;
	proving->out = lobby->draw;
	proving->out.users = NULL;
	proving->entry->pending++;
	ush_db_run(proving->entry->core->db, USH_DB_READ, prove_job, proved, proving);
}

void entry_get_proof(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	const struct ush_who *who = ush_who_must(request, 1u << USH_ROLE_BUYER);
	const char *text = ush_http_header(request, "Usher-Ticket");
	struct ush_ticket ticket;
	struct proving *proving;
	uint64_t event, tag;

	if (who == NULL || !ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event) ||
		!entry_rate(entry, request, who->user))
		return;
	if (text == NULL || !ush_entry_ticket_read(text, &ticket, &tag)) {
		ush_http_problem(request, 422, "bad_ticket_text", NULL,
			"a ticket is the text of %u characters that joining gave",
			USH_ENTRY_TICKET_CHARS);
		return;
	}
	if (ticket.tier >= USH_DRAW_TIERS) {
		ush_http_problem(request, 404, "no_draw", NULL,
			"who joined after the lobby was closed is behind it, in order of arrival");
		return;
	}
	proving = calloc(1, sizeof(*proving));
	if (proving == NULL) {
		entry_not_ready(request, "memory");
		return;
	}
	*proving = (struct proving){
		.entry = entry, .request = request, .ticket = ticket, .user = who->user};
	entry_lobby_get(entry, (uint32_t)event, false, lobby_there, proving);
}
