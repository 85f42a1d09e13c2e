/* SPDX-License-Identifier: Apache-2.0 */
/*
 * People: buyers, promoters, operators; sessions and API keys; who makes a request.
 *
 * Owns:  the tables of accounts, sessions, keys, codes, audit; the filter that names who asks.
 * Reads: nothing.
 * Never: seats, money; personal data in logs.
 */
#ifndef USH_PEOPLE_H
#define USH_PEOPLE_H

#include "daemon/core.h"
#include "db/db.h"
#include "http/server.h"

struct ush_people;

enum ush_role {
	USH_ROLE_NONE = 0, /* nobody signed in */
	USH_ROLE_BUYER = 1,
	USH_ROLE_PROMOTER = 2, /* its own events */
	USH_ROLE_OPERATOR = 3, /* everything */
	USH_ROLE_SERVICE = 4,  /* an API key of an integrator, with scopes */
	USH_ROLE_SCHEDULE = 5, /* nobody: what was planned, in the audit log alone */
};

/* Who asks, as the filter found out. */
struct ush_who {
	enum ush_role role;
	/* The number usherd knows a buyer by (request.user); of others: their account's number.
	 * Never 0. */
	uint64_t user;
	uint64_t promoter; /* of a promoter and its keys; otherwise 0 */
	uint64_t verified; /* bits of enum ush_verified */
	char account[24];  /* "u_..." as in the API */
};
enum ush_verified {
	USH_VERIFIED_MAIL = 1,
	USH_VERIFIED_PHONE = 2
};

/* Opens, adds the filter and the routes. err: as ush_db_open. */
int ush_people_open(
	struct ush_people **people, const struct ush_core *core, struct ush_message *message);
void ush_people_close(struct ush_people *people);
extern const struct ush_db_step ush_people_schema[];

/* ret: who asks; NULL: nobody. */
const struct ush_who *ush_who(const struct ush_http_request *request);
/* ret: who asks, if they have one of the roles (bits 1 << enum ush_role); otherwise NULL, and 401
 * or 403 was answered. */
const struct ush_who *ush_who_must(struct ush_http_request *request, uint32_t roles);

/* ret: 1 if the user registered as a fan of the event, with a verified telephone; 0;
 * negative. Within a job. */
int ush_people_is_fan(struct ush_db_conn *conn, uint64_t user, uint32_t event);

/*
 * What a module keeps about a user, for its export and its deletion; people: NULL: the one that is
 * open. Registered before the server
 * serves, at most 8. take: within a read job: adds what there is (*out: a new reference, or NULL).
 * drop: within a write job: removes or pseudonymises what need not be kept. ret: 0 or negative.
 */
void ush_people_keeper(struct ush_people *people, const char *name,
	int (*take)(struct ush_db_conn *conn, uint64_t user, json_t **out),
	int (*drop)(struct ush_db_conn *conn, uint64_t user));

/* Makes an account of that role, or gives it to the one with that address. For `usher-control
 * account`. ret: 0 and *account; negative with a message. by: without the loop. */
int ush_people_appoint(struct ush_db *db, const char *mail, enum ush_role role, uint64_t *account,
	struct ush_message *message);

/* SQL, made of texts of SQL: true while the account has that role (enum ush_role) and is the
 * promoter of that number (0: of none). One that was demoted or deleted has not. */
#define USH_PEOPLE_SQL_IS(of_account, of_role, of_promoter) \
	"EXISTS (SELECT 1 FROM people_accounts WHERE people_accounts.account = " of_account \
	" AND people_accounts.deleted_us = 0 AND people_accounts.role = " of_role \
	" AND people_accounts.promoter = " of_promoter ")"

/* Within a job: an e-mail address of a user (malloced) or NULL. For mail alone. */
char *ush_people_mail_of(struct ush_db_conn *conn, uint64_t user);
/* Within a write job: one line of the audit log. text: what was done, without personal data. */
void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text);

#endif /* USH_PEOPLE_H */
