/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gate: decides about scanned codes without a network, and remembers whom it let in.
 *
 * Owns:  the gate's log (docs/tickets.md), which several gates of one machine may share.
 * Reads: the file of public keys, the list of revocations.
 * Never: clocks: now is an argument; the network.
 */
#ifndef USH_TICKETS_GATE_H
#define USH_TICKETS_GATE_H

#include "tickets/revocations.h"

#define USH_GATE_VERDICT_EACH(X) \
	X(VALID, "let in") \
	X(DUPLICATE, "this seat was let in before") \
	X(REVOKED, "refunded, transferred or re-issued") \
	X(WRONG_EVENT, "a ticket of another event") \
	X(BAD_SIGNATURE, "not a ticket of this shop, or damaged") \
	X(UNKNOWN_KEY, "signed by a key this gate has not got: fetch the keys") \
	X(RETIRED_KEY, "signed by a key that is no longer trusted") \
	X(MALFORMED, "no ticket of Usher") \
	X(STALE, "the list of revocations is too old, and the gate is strict")

enum ush_gate_verdict {
#define X(name, text) USH_GATE_##name,
	USH_GATE_VERDICT_EACH(X)
#undef X
	USH_GATE_VERDICT_COUNT
};

struct ush_gate_config {
	uint32_t event;
	const char *keys;        /* file; what GET /v1/gate/keys answered */
	const char *revocations; /* file; what GET /v1/gate/revocations answered; NULL: none */
	const char *log;         /* file, made if it is not there; NULL: duplicates are not seen */
	int64_t list_age_max_us; /* beyond: said, and refused if strict */
	bool strict;
};

struct ush_gate_answer {
	enum ush_gate_verdict verdict;
	bool known; /* ticket is filled in (of a bad signature: as it claims) */
	struct ush_ticket ticket;
	int64_t first_us; /* DUPLICATE: when it was let in */
	bool list_known;
	int64_t list_age_us; /* may be negative: clocks differ */
	bool list_too_old;
};

struct ush_gate;

/* Reads keys, list and log. ret: 0; err: of the files, with a message: -USH_ECORRUPT of a log: a
 * line of it was changed. */
int ush_gate_open(
	struct ush_gate **gate, const struct ush_gate_config *config, struct ush_message *message);
/* Takes over keys and list if their files changed for something good and no older. ret: 0; err: the
 * old ones stay in use; message says why. */
int ush_gate_reload(struct ush_gate *gate, struct ush_message *message);
/* Decides. VALID is in the log, durably, when this returns. ret: 0; err: the log could not be
 * written: nobody is let in. */
int ush_gate_scan(struct ush_gate *gate, const char *text, size_t bytes, int64_t now_us,
	struct ush_gate_answer *answer, struct ush_message *message);
void ush_gate_close(struct ush_gate *gate);

/* ret: "VALID" and so on; the words for it. */
const char *ush_gate_verdict_name(enum ush_gate_verdict verdict);
const char *ush_gate_verdict_text(enum ush_gate_verdict verdict);

/* A line of a log, for those who compare the logs of several gates. */
struct ush_gate_line {
	int64_t at_us;
	enum ush_gate_verdict verdict;
	struct ush_ticket ticket;
};
/* Reads all lines of a log; `each` is called for one after the other. ret: 0; err: -USH_ENOENT,
 * -USH_ECORRUPT, message. */
int ush_gate_log_read(const char *path,
	void (*each)(void *context, const struct ush_gate_line *line), void *context,
	struct ush_message *message);

#endif /* USH_TICKETS_GATE_H */
