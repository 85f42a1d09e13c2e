/* SPDX-License-Identifier: Apache-2.0 */
/* A request under way: its job on a worker thread, its answer on the loop. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "catalogue/call.h"

struct cat_call *cat_call_begin(
	struct ush_catalogue *catalogue, struct ush_http_request *request, uint32_t roles)
{
	const struct ush_who *who = roles != 0 ? ush_who_must(request, roles) : ush_who(request);
	struct cat_call *call;

	if (roles != 0 && who == NULL)
		return NULL;
	call = calloc(1, sizeof(*call));
	USH_ASSERT(call != NULL);
	call->catalogue = catalogue;
	call->request = request;
	call->known = who != NULL;
	if (who != NULL)
		call->who = *who;
	return call;
}

void cat_call_reset(struct cat_call *call)
{
	json_decref(call->answer);
	json_decref(call->more);
	json_decref(call->event);
	free(call->image);
	call->answer = NULL;
	call->more = NULL;
	call->event = NULL;
	call->image = NULL;
	call->code = NULL;
}

static void end(struct cat_call *call)
{
	cat_call_reset(call);
	if (call->own_input)
		json_decref(call->input);
	free(call->words);
	free(call);
}

void cat_call_done(void *context, int result)
{
	struct cat_call *call = context;
	json_t *body = call->answer;

	if (result == 0 && call->code == NULL && body != NULL) {
		call->answer = NULL;
		ush_http_answer_json(call->request, call->status, body);
	} else if (call->code != NULL && (result == 0 || result == -USH_EINVAL)) {
		json_t *more = call->more;

		call->more = NULL;
		ush_http_problem(call->request, call->status, call->code, more, "%s", call->detail);
	} else if (result == -USH_EBUSY || result == -USH_EUNKNOWN || result == -USH_ESTOPPED) {
		ush_http_set(call->request, "Retry-After", "1");
		ush_http_problem(call->request, 503, "busy", NULL,
			"The database did not take it in time. Ask again.");
	} else {
		ush_core_log(USH_CORE_ERROR, "catalogue", "a job failed", "why",
			ush_error_text(result), "request", ush_http_id(call->request), NULL);
		ush_http_problem(call->request, 500, "internal", NULL, "The database failed.");
	}
	end(call);
}

void cat_call_run(struct cat_call *call, enum ush_db_kind kind, ush_db_job *job)
{
	ush_db_run(call->catalogue->core->db, kind, job, cat_call_done, call);
}

int cat_call_refuse(
	struct cat_call *call, uint32_t status, const char *code, const char *detail, ...)
{
	va_list arguments;

	call->status = status;
	call->code = code;
	va_start(arguments, detail);
	vsnprintf(call->detail, sizeof(call->detail), detail, arguments);
	va_end(arguments);
	return -USH_EINVAL;
}

json_t *cat_call_event(struct cat_call *call, struct ush_db_conn *conn)
{
	json_t *event = cat_event_read(conn, call->number);
	bool ours = call->known &&
		    (call->who.role == USH_ROLE_OPERATOR ||
			    (call->who.promoter != 0 && event != NULL &&
				    (uint64_t)cat_int(event, "promoter") == call->who.promoter));

	/* Whether another promoter's draft exists is not told. */
	if (event == NULL || !ours) {
		json_decref(event);
		cat_call_refuse(call, 404, "not_found", "There is no event %lld of yours.",
			(long long)call->number);
		return NULL;
	}
	return event;
}
