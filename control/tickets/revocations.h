/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signed list of dead tickets that gates carry: of each seat named, the serial that lives.
 *
 * Owns:  its format (docs/tickets.md).
 * Reads: nothing.
 * Never: clocks, files, databases.
 */
#ifndef USH_TICKETS_REVOCATIONS_H
#define USH_TICKETS_REVOCATIONS_H

#include "tickets/keys.h"

/* Seats of an event that a list may name. A line of it has at most 24 characters. */
#define USH_REVOCATIONS_MAX 1000000u
#define USH_REVOCATIONS_BYTES_MAX (32u << 20)

/* Tickets of this seat with a serial below `alive` are dead. */
struct ush_revocation {
	uint32_t row;
	uint16_t alive; /* 0xffff: none lives and none will */
	uint8_t bit;
};

struct ush_revocations {
	uint32_t event;
	uint8_t key;
	int64_t made_us;  /* it held then, by the clock of who made it */
	uint64_t through; /* number of the last change it knows */
	uint32_t count;
	struct ush_revocation *seats; /* ascending by row, bit; malloced */
};

/* Writes and signs. ret: 0 and *text (malloced, 0-terminated); err: -USH_EINVAL (not ascending, too
 * many), -USH_ENOMEM. */
int ush_revocations_make(
	const struct ush_revocations *list, const struct ush_ticket_key *key, char **text);
/* Reads a list and checks its signature. ret: 0 (free it with ush_revocations_free); err:
 * -USH_EPARSE, -USH_EVERSION, -USH_EACCES (not signed by one of the keys), -USH_ENOMEM; message. */
int ush_revocations_read(const char *text, size_t bytes, const struct ush_ticket_keys *keys,
	struct ush_revocations *list, struct ush_message *message);
/* ret: the lowest serial of that seat that lives; 0: all. cost: O(log count). */
uint16_t ush_revocations_alive(const struct ush_revocations *list, uint32_t row, uint8_t bit);
void ush_revocations_free(struct ush_revocations *list);

#endif /* USH_TICKETS_REVOCATIONS_H */
