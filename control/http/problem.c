/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All codes of problem documents, by module. tests/system/test_problems.py compares this table with
 * every call of ush_http_problem in control/. A code that was released never changes its meaning.
 */
#include <stddef.h>
#include <string.h>

#include "http/problem.h"

static const struct {
	const char *code, *title;
} problems[] = {
	/* http */
	{"bad_json", "The body is not a JSON object"},
	{"bad_target", "The path or the query cannot be read"},
	{"body_too_large", "The body is too large"},
	{"busy", "Too much is under way"},
	{"idempotency_key", "An Idempotency-Key is missing or malformed"},
	{"idempotency_mismatch", "The Idempotency-Key belongs to another request"},
	{"idempotency_running", "The first request of this Idempotency-Key is under way"},
	{"internal", "We failed"},
	{"method_not_allowed", "The path does not take this method"},
	{"not_found", "There is nothing here"},
	{"not_ready", "A part that this needs is not there now"},
	{"unsupported_media_type", "The body has another type than this takes"},
	/* people */
	{"code_wrong", "The code is not good"},
	{"csrf", "The request may not come from our pages"},
	{"forbidden", "Who asks may not do this"},
	{"invalid", "A member of the body makes no sense"},
	{"key_unknown", "The API key is not good"},
	{"not_verified", "Something has to be verified first"},
	{"phone_taken", "The telephone belongs to another account"},
	{"rate_limited", "Too many requests"},
	{"scope", "The API key may not do this"},
	{"sign_in", "Nobody is signed in"},
	/* tickets */
	{"last_key", "Nothing else could sign"},
	{"ticket_not_found", "There is no such ticket"},
	/* orders */
	{"bad_codes", "Presale codes cannot be made like this"},
	{"bad_seats", "That cannot be asked for"},
	{"channel_denied", "These seats are kept for another sale"},
	{"cool_down", "No new hold yet"},
	{"hold_budget", "Too many seats for too long"},
	{"hold_changed", "The hold has changed meanwhile"},
	{"hold_expired", "The hold's time is over"},
	{"hold_not_found", "There is no such hold"},
	{"hold_state", "The hold's state does not allow this"},
	{"no_seats_fit", "No free seats fit"},
	{"no_such_seat", "The plan has no such seat"},
	{"not_on_sale", "The event is not on sale"},
	{"not_on_waitlist", "There is no such entry on a wait-list"},
	{"not_sold_out", "There are free seats"},
	{"on_waitlist", "Already on this wait-list"},
	{"order_not_found", "There is no such order"},
	{"presale_code", "This presale code is not good"},
	{"request_too_old", "This key was used long ago"},
	{"seat_limit", "More seats than one person may have"},
	{"seats_contended", "Somebody else was faster"},
	{"seats_taken", "Seats are taken"},
	{"seats_unavailable", "The seats' server does not answer"},
	{"single_seat_left", "A single seat would be left over"},
	{"sold_out", "Sold out"},
	{"transfer_not_found", "There is no such transfer"},
	{"transfer_over", "This transfer is over"},
	/* catalogue */
	{"bad_plan", "The venue file cannot be compiled"},
	{"bad_query", "A part of the query string makes no sense"},
	{"event_exists", "The promoter has an event of that name already"},
	{"event_number", "The event's number cannot be sold by usherd"},
	{"event_planned", "The event's plan says that"},
	{"event_published", "The event is published"},
	{"event_refused", "usherd refused the event"},
	{"event_state", "The event's status does not allow that"},
	{"import_errors", "The import has faults"},
	/* hooks */
	{"hook_limit", "As many webhooks as may be"},
	{"hook_owner", "The endpoint has no owner any more"},
	/* entry */
	{"access_wanted", "The event has a waiting room"},
	{"bad_join", "A part of the join makes no sense"},
	{"bad_queue_action", "A waiting room cannot do that"},
	{"bad_ticket", "The queue ticket is not good"},
	{"bad_ticket_text", "That is no queue ticket"},
	{"captcha_wanted", "A CAPTCHA is asked for"},
	{"event_over", "The event is over"},
	{"no_draw", "There is no draw"},
	{"no_plan", "Nothing is planned"},
	{"no_room", "The event has no waiting room"},
	{"planned", "It opens by itself, or was opened"},
	{"not_called", "The ticket's turn has not come"},
	{"room_full", "The waiting room is full"},
	{"seed_mismatch", "The seed is not the one that was published"},
	{"unknown_event", "There is no such event"},
	{"work_wanted", "A proof of work is asked for"},
	{"too_early", "Not before the time that was published"},
	{"wrong_phase", "The waiting room is in another phase"},
	/* payments */
	{"card_number", "Card data is not taken"},
	{"payment_not_found", "There is no such payment"},
	{"payment_running", "Another payment of this hold is under way"},
	{"refund_not_allowed", "This order cannot be refunded like this"},
	{"signature", "The signature is not good"},
};

const char *ush_http_problem_title(const char *code)
{
	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
		if (strcmp(problems[i].code, code) == 0)
			return problems[i].title;
	return NULL;
}
