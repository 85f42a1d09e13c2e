/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request under way in the catalogue: from its handler through jobs and calls to its answer.
 *
 * Owns:  the copy of who asks, what was read, the answer to come.
 * Reads: nothing.
 * Never: outlives its answer.
 */
#ifndef USH_CATALOGUE_CALL_H
#define USH_CATALOGUE_CALL_H

#include "catalogue/internal.h"
#include "http/server.h"

#define CAT_ROLES (1u << USH_ROLE_PROMOTER | 1u << USH_ROLE_OPERATOR)

struct cat_call {
	struct ush_catalogue *catalogue;
	struct ush_http_request *request;
	ush_db_job *job;
	struct ush_who who;
	bool known; /* `who` is set */
	int64_t number;
	json_t *input; /* borrowed from the request, or owned: see own_input */
	bool own_input;
	char *words;
	bool prefix;
	struct cat_search search;
	/* What comes out. A job begins by cat_call_reset(). */
	uint32_t status;
	json_t *answer, *more;
	const char *code; /* of a problem */
	char detail[400];
	/* Of publishing. */
	json_t *event;
	uint8_t *image;
	size_t image_bytes;
	uint32_t wanted; /* an event status */
	const char *action;
	size_t at; /* of an import: the next event */
};

/* ret: a call, or NULL after it has answered. roles: 0: anybody. */
struct cat_call *cat_call_begin(
	struct ush_catalogue *catalogue, struct ush_http_request *request, uint32_t roles);
/* Runs a job and answers by what it left. */
void cat_call_run(struct cat_call *call, enum ush_db_kind kind, ush_db_job *job);
void cat_call_reset(struct cat_call *call);
/* Answers and ends it. result: of the last job. */
void cat_call_done(void *context, int result);
/* A problem for the answer. ret: -USH_EINVAL: what a job returns then. */
int cat_call_refuse(struct cat_call *call, uint32_t status, const char *code, const char *detail,
	...) USH_PRINTF(4, 5);
/* Within a job: reads the event that the call is about. ret: it, or NULL after cat_call_refuse().
 */
json_t *cat_call_event(struct cat_call *call, struct ush_db_conn *conn);

#endif /* USH_CATALOGUE_CALL_H */
