/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instead of people/ in the test programs that run a module or two of usher-control: who asks
 * stands in headers, X-Test-User (a number), X-Test-Role (of enum ush_role; a buyer without) and
 * X-Test-Verified (bits).
 *
 * Owns:  nothing.
 * Reads: headers of requests.
 * Never: used outside tests/; ush_people_audit is each program's own.
 */
#ifndef USH_TESTS_PEOPLE_BY_HEADER_H
#define USH_TESTS_PEOPLE_BY_HEADER_H

#include <stdio.h>
#include <stdlib.h>

#include "people/people.h"

static bool people_by_header(struct ush_http_request *request, void *context)
{
	const char *user = ush_http_header(request, "X-Test-User");
	const char *role = ush_http_header(request, "X-Test-Role");
	const char *verified = ush_http_header(request, "X-Test-Verified");
	struct ush_who *who;

	(void)context;
	if (user == NULL)
		return true;
	who = calloc(1, sizeof(*who));
	USH_ASSERT(who != NULL);
	who->user = strtoull(user, NULL, 10);
	who->role = role != NULL ? (enum ush_role)strtoul(role, NULL, 10) : USH_ROLE_BUYER;
	who->verified = verified != NULL ? strtoull(verified, NULL, 10) : 0;
	snprintf(who->account, sizeof(who->account), "u_%llu", (unsigned long long)who->user);
	ush_http_who_set(request, who->account, who, free);
	return true;
}

const struct ush_who *ush_who(const struct ush_http_request *request)
{
	return ush_http_who(request);
}

const struct ush_who *ush_who_must(struct ush_http_request *request, uint32_t roles)
{
	const struct ush_who *who = ush_http_who(request);

	if (who != NULL && (roles >> who->role & 1) != 0)
		return who;
	ush_http_problem(request, who == NULL ? 401 : 403, "not_found", NULL, "who are you?");
	return NULL;
}

void ush_people_keeper(struct ush_people *people, const char *name,
	int (*take)(struct ush_db_conn *conn, uint64_t user, json_t **out),
	int (*drop)(struct ush_db_conn *conn, uint64_t user))
{
	(void)people;
	(void)name;
	(void)take;
	(void)drop;
}

#endif /* USH_TESTS_PEOPLE_BY_HEADER_H */
