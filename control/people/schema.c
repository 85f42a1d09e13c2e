/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of people. A step that was released never changes: add one.
 *
 * Retention: codes an hour after they ended, sessions when they ended (both in the housekeeping of
 * people.c); accounts are pseudonymised when they are deleted, since orders name their number; the
 * audit log is kept.
 */
#include "people/internal.h"

#define TABLES(BIG) \
	"CREATE TABLE people_accounts(account " BIG " PRIMARY KEY, role " BIG " NOT NULL," \
	" promoter " BIG " NOT NULL, mail TEXT UNIQUE, phone TEXT UNIQUE, name TEXT NOT NULL," \
	" verified " BIG " NOT NULL, created_us " BIG " NOT NULL, deleted_us " BIG " NOT NULL);" \
	"CREATE TABLE people_codes(challenge TEXT NOT NULL PRIMARY KEY, purpose " BIG " NOT NULL," \
	" target TEXT NOT NULL, account " BIG " NOT NULL, hash TEXT NOT NULL, tries " BIG \
	" NOT NULL," \
	" created_us " BIG " NOT NULL, expires_us " BIG " NOT NULL);" \
	"CREATE INDEX people_codes_target ON people_codes(target, created_us);" \
	"CREATE INDEX people_codes_expires ON people_codes(expires_us);" \
	"CREATE TABLE people_sessions(hash TEXT NOT NULL PRIMARY KEY, account " BIG " NOT NULL," \
	" created_us " BIG " NOT NULL, seen_us " BIG " NOT NULL, expires_us " BIG " NOT NULL);" \
	"CREATE INDEX people_sessions_account ON people_sessions(account);" \
	"CREATE INDEX people_sessions_expires ON people_sessions(expires_us);" \
	"CREATE TABLE people_keys(prefix TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL," \
	" account " BIG " NOT NULL, role " BIG " NOT NULL, promoter " BIG " NOT NULL," \
	" scope TEXT NOT NULL, name TEXT NOT NULL, created_us " BIG " NOT NULL," \
	" used_us " BIG " NOT NULL, revoked_us " BIG " NOT NULL);" \
	"CREATE INDEX people_keys_account ON people_keys(account);" \
	"CREATE TABLE people_fans(event " BIG " NOT NULL, account " BIG " NOT NULL," \
	" created_us " BIG " NOT NULL, PRIMARY KEY(event, account));" \
	"CREATE INDEX people_fans_account ON people_fans(account);" \
	"CREATE TABLE people_audit(number " BIG " PRIMARY KEY, time_us " BIG " NOT NULL," \
	" account " BIG " NOT NULL, role " BIG " NOT NULL, action TEXT NOT NULL," \
	" object TEXT NOT NULL, text TEXT NOT NULL, hash TEXT NOT NULL);"

const struct ush_db_step ush_people_schema[] = {
	{"people", 1, TABLES("INTEGER"), TABLES("BIGINT")},
	{0},
};
