/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a ticket's QR code: a few numbers and a signature, checked without a network.
 *
 * Owns:  the format of codes (docs/tickets.md), base45, Ed25519 over it.
 * Reads: nothing.
 * Never: clocks, files, databases.
 */
#ifndef USH_TICKETS_CODE_H
#define USH_TICKETS_CODE_H

#include "base/base.h"

#define USH_TICKET_KEY_BYTES 32u
#define USH_TICKET_SIGNATURE_BYTES 64u
#define USH_TICKET_PREFIX "USHER:"
/* version 1, key 1, event 4, hold 8, row 4, bit 1, serial 2 */
#define USH_TICKET_BODY_BYTES 21u
#define USH_TICKET_BYTES (USH_TICKET_BODY_BYTES + USH_TICKET_SIGNATURE_BYTES)
/* Three characters for two bytes, two for the last one. */
#define USH_TICKET_CODE_CHARS (6u + USH_TICKET_BYTES / 2 * 3 + USH_TICKET_BYTES % 2 * 2)
static_assert(USH_TICKET_CODE_CHARS <= 154, "fits a QR code of version 6, level M");

/* One seat of one order. A seat's serials ascend over its whole event, sold again or not, so of two
 * tickets of a seat the one with the lower serial is dead. */
struct ush_ticket {
	uint32_t event;
	uint64_t hold;
	uint32_t row;
	uint8_t bit;
	uint16_t serial; /* from 1 */
	uint8_t key;     /* which key signed; from 1 */
};

struct ush_ticket_code {
	struct ush_ticket ticket;
	uint8_t body[USH_TICKET_BODY_BYTES];
	uint8_t signature[USH_TICKET_SIGNATURE_BYTES];
};

/* Afterwards public is the public key of a seed (the private key of RFC 8032). ret: 0; err:
 * -USH_ENOMEM. */
int ush_ticket_public(
	const uint8_t seed[USH_TICKET_KEY_BYTES], uint8_t public[USH_TICKET_KEY_BYTES]);

/* Signs `bytes` of data behind a name that says what they are, so that a signature of one kind is
 * none of another. ret: 0; err: -USH_ENOMEM. */
int ush_ticket_sign(const uint8_t seed[USH_TICKET_KEY_BYTES], const char *kind, const void *data,
	size_t bytes, uint8_t signature[USH_TICKET_SIGNATURE_BYTES]);
bool ush_ticket_signed(const uint8_t public[USH_TICKET_KEY_BYTES], const char *kind,
	const void *data, size_t bytes, const uint8_t signature[USH_TICKET_SIGNATURE_BYTES]);

/* Writes the code of a ticket, 0-terminated. ret: 0; err: -USH_EINVAL (a field is 0 that may not
 * be, bit above 63), -USH_ENOMEM. */
int ush_ticket_make(const struct ush_ticket *ticket, const uint8_t seed[USH_TICKET_KEY_BYTES],
	char code[USH_TICKET_CODE_CHARS + 1]);

/* Reads a code; its signature is not looked at yet. ret: 0; err: -USH_EPARSE, -USH_EVERSION.
 * One ticket has one text: nothing else is taken. */
int ush_ticket_parse(const char *text, size_t bytes, struct ush_ticket_code *code);
/* ret: true if that key signed it. */
bool ush_ticket_good(
	const struct ush_ticket_code *code, const uint8_t public[USH_TICKET_KEY_BYTES]);

/* RFC 9285. ret: characters written (the text is 0-terminated), at most bytes / 2 * 3 + 2. */
size_t ush_base45_encode(const uint8_t *data, size_t bytes, char *text);
/* ret: bytes written; err: -USH_EPARSE, -USH_EFULL. */
int64_t ush_base45_decode(const char *text, size_t chars, uint8_t *data, size_t bytes_max);

/* RFC 4648 section 5, without padding. ret: as above. */
size_t ush_base64url_encode(const uint8_t *data, size_t bytes, char *text);
int64_t ush_base64url_decode(const char *text, size_t chars, uint8_t *data, size_t bytes_max);

#endif /* USH_TICKETS_CODE_H */
