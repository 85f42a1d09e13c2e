/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds messages: RFC 5322 heads, MIME bodies (RFC 2045 to 2047, 2387).
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: clocks, the network, databases; lets a line break into a head.
 */
#ifndef USH_MAIL_MIME_H
#define USH_MAIL_MIME_H

#include "mail/mail.h"

/* Of a whole message; relays commonly take 10 MiB and more. */
#define USH_MIME_BYTES_MAX (8u << 20)
#define USH_MIME_PARTS_MAX 64u

/* ret: true for an address that fits RFC 5321's Mailbox without quoting: ASCII, at most 254
 * characters. Addresses with other letters (SMTPUTF8) are refused. */
bool ush_mime_is_address(const char *text);
/* ret: true for UTF-8 without control characters, of 1 to 200 bytes: a subject, a name. */
bool ush_mime_is_line(const char *text);

/*
 * Builds all from the line MIME-Version on: text, or text and HTML as alternatives, with parts that
 * have an id related to the HTML and the others attached. seed: makes the boundaries; the same for
 * the same message. ret: 0 and *out (malloced, 0-terminated); err: -USH_EINVAL (a type, name or id
 * that may not be; text that is not UTF-8; an inline part without HTML), -USH_EFULL, -USH_ENOMEM.
 */
int ush_mime_body(const char *seed, const char *text, const char *html,
	const struct ush_mail_part *parts, uint32_t part_count, char **out, size_t *bytes);

struct ush_mime_head {
	const char *from;      /* address */
	const char *from_name; /* NULL: none */
	const char *to;
	const char *subject;
	const char *message_id; /* without <> */
	int64_t date_us;
};
/* Builds the lines before those of ush_mime_body. ret and err: as there. */
int ush_mime_head(const struct ush_mime_head *head, char **out, size_t *bytes);

#endif /* USH_MAIL_MIME_H */
