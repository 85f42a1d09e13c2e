/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of people/ share.
 *
 * Owns:  nothing of its own.
 * Reads: nothing.
 * Never: is included elsewhere.
 */
#ifndef USH_PEOPLE_INTERNAL_H
#define USH_PEOPLE_INTERNAL_H

#include "people/limit.h"
#include "people/people.h"

#define PEOPLE_TOKEN_BYTES 32u /* of sessions and keys: 256 bits of chance */
#define PEOPLE_HEX_BYTES 65u   /* a SHA-256 in hexadecimal */
#define PEOPLE_MAIL_BYTES 255u
#define PEOPLE_KEEPERS_MAX 8u
#define PEOPLE_SECOND_US 1000000ll
#define PEOPLE_MINUTE_US (60 * PEOPLE_SECOND_US)
#define PEOPLE_HOUR_US (60 * PEOPLE_MINUTE_US)
#define PEOPLE_DAY_US (24 * PEOPLE_HOUR_US)

struct people_keeper {
	const char *name;
	int (*take)(struct ush_db_conn *conn, uint64_t user, json_t **out);
	int (*drop)(struct ush_db_conn *conn, uint64_t user);
};

struct ush_people {
	const struct ush_core *core;
	/* Of codes: state_dir/people.secret, made at the first start. */
	uint8_t secret[32];
	bool is_https;
	struct people_limit *limit;
	struct event *housekeeping;
	char *sms_key;
	/* Jobs and texts under way: the module may not be closed before. */
	uint32_t under_way;
	bool closing;
	struct people_keeper keepers[PEOPLE_KEEPERS_MAX];
	uint32_t keeper_count;
};

/* The request's `who`, and by what it came in. */
struct people_who {
	struct ush_who who;
	bool by_cookie;
	bool read_only; /* a key of scope "read" */
	char session[PEOPLE_HEX_BYTES];
	char csrf[PEOPLE_HEX_BYTES];
};

/* ---- a request that asks the database ---- */

struct people_task;
typedef int people_job(struct ush_db_conn *conn, struct people_task *task);

/* One for each request: what it read of the body, what the job found. A job may run again: what it
 * sets, it sets anew. */
struct people_task {
	struct ush_people *people;
	struct ush_http_request *request;
	people_job *job;
	/* After a job without problem, instead of answering; NULL: answers status and answer. */
	void (*then)(struct people_task *task);
	struct people_who who; /* zero: nobody */
	const char *method;
	int64_t now_us;
	int64_t number;
	int64_t other;
	char text[PEOPLE_MAIL_BYTES];
	char more[PEOPLE_MAIL_BYTES];
	char token[2 * PEOPLE_TOKEN_BYTES + 1];
	char code[8];
	/* Set by the job. */
	uint32_t status;
	json_t *answer;
	const char *problem;
	const char *detail;
	uint32_t retry_s;
};

/* ret: a task with the time and who asks. */
struct people_task *people_task_new(struct ush_people *people, struct ush_http_request *request);
void people_task_run(struct people_task *task, enum ush_db_kind kind, people_job *job);
/* Within a job: the request will be answered by a problem. ret: 0: what was written stays. */
int people_task_refuse(
	struct people_task *task, uint32_t status, const char *code, const char *detail);
/* Answers by a problem and frees the task. */
void people_task_drop(
	struct people_task *task, uint32_t status, const char *code, const char *detail);
void people_task_free(struct people_task *task);
/* ret: true and a copy of the text member; false: it is missing, too long or no text: answered 422.
 */
bool people_task_text(struct people_task *task, const char *name, char *to, size_t bytes);

/* ---- secrets ---- */

/* out: 2 * PEOPLE_TOKEN_BYTES hexadecimal digits of chance. */
void people_token(char text[2 * PEOPLE_TOKEN_BYTES + 1]);
void people_sha256(const char *text, char hex[PEOPLE_HEX_BYTES]);
/* Of a session's token, by itself: every usher-control on the database takes it, whatever its
 * secret; who knows neither cookie nor page cannot make it. */
void people_csrf(const char *token, char hex[PEOPLE_HEX_BYTES]);
void people_hmac(const struct ush_people *people, const char *purpose, const char *text,
	char hex[PEOPLE_HEX_BYTES]);
/* In constant time for texts of one length. */
bool people_same(const char *a, const char *b);
/* Reads the secret of `state_dir`, or makes it. */
int people_secret_open(struct ush_people *people, struct ush_message *message);

/* ---- spelling ---- */

/* ret: false: no address that mail can be sent to. out: lower case. */
bool people_mail_read(const char *text, char mail[PEOPLE_MAIL_BYTES]);
/* E.164: + and 7 to 15 digits. */
bool people_phone_is_good(const char *text);
const char *people_role_name(uint32_t role);
/* ret: the role, USH_ROLE_NONE for none that can be given. */
enum ush_role people_role_read(const char *name);
void people_account_name(uint64_t account, char name[24]);

/* ---- the parts ---- */

void people_who_open(struct ush_people *people);
void people_sign_in_open(struct ush_people *people);
void people_me_open(struct ush_people *people);
void people_admin_open(struct ush_people *people);

/* out: six digits of chance. */
void people_code_draw(char code[8]);
/* Sends a code, after its job: by a file, by mail (then it stands in the outbox already), or by
 * text message. */
void people_code_send(struct ush_people *people, const char *target, const char *code);
/* Within the job: puts a mail into the outbox. */
int people_code_mail(const struct ush_people *people, struct ush_db_conn *conn,
	const char *challenge, const char *mail, const char *code);
/* Within a job: a new challenge for `target`. ret: 0; 1: too many lately; negative. */
int people_code_new(struct people_task *task, struct ush_db_conn *conn, int64_t purpose);
enum {
	PEOPLE_SIGN_IN = 1,
	PEOPLE_PHONE = 2
};
/* Within a job: ret: 1 and target (malloced): right, and used up; 0: wrong, counted; negative. */
int people_code_check(struct people_task *task, struct ush_db_conn *conn, int64_t purpose,
	int64_t account, char **target);
/* The cookie that is set, with that token and age; age 0 takes it away. */
void people_cookie_set(struct people_task *task, const char *token, int64_t age_s);
const char *people_cookie_name(const struct ush_people *people);
/* Within a job. ret: the account, made if there was none; negative: error. */
int64_t people_account_of(struct ush_db_conn *conn, const char *mail, int64_t now_us);

#endif /* USH_PEOPLE_INTERNAL_H */
