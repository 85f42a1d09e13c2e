/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what tests/unit/test_tickets_qr.py and tests/system/test_gate.py look at: a code, the
 * picture of a text, keys, a list of revocations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tickets/code.h"
#include "tickets/qr.h"
#include "tickets/revocations.h"

static const uint8_t seed[USH_TICKET_KEY_BYTES] = {1};

static int print(char *text)
{
	int failed = text == NULL || fputs(text, stdout) < 0;

	free(text);
	return failed;
}

/* Tickets of row 5, bit 5 are dead below serial 2. */
static int print_list(int64_t made_us)
{
	struct ush_revocation seat = {.row = 5, .bit = 5, .alive = 2};
	struct ush_revocations list = {
		.event = 7, .made_us = made_us, .through = 9, .count = 1, .seats = &seat};
	struct ush_ticket_keys keys = {0};
	char *text = NULL;

	ush_ticket_key_add(&keys, seed, 0);
	if (ush_revocations_make(&list, &keys.keys[0], &text) != 0)
		return 1;
	return print(text);
}

static int print_keys(void)
{
	struct ush_ticket_keys keys = {0};

	ush_ticket_key_add(&keys, seed, 0);
	return print(ush_ticket_keys_text(&keys));
}

static int print_code(uint32_t row)
{
	const struct ush_ticket ticket = {.event = 7,
		.hold = 0x8000000000000001ull + row,
		.row = row,
		.bit = 5,
		.serial = 1,
		.key = 1};
	char code[USH_TICKET_CODE_CHARS + 1];

	if (ush_ticket_make(&ticket, seed, code) != 0)
		return 1;
	return fputs(code, stdout) < 0;
}

int main(int argc, char **argv)
{
	uint8_t *png;
	size_t bytes;
	char *svg;
	int result = 2;

	if (argc == 3 && strcmp(argv[1], "code") == 0)
		return print_code((uint32_t)strtoul(argv[2], NULL, 10));
	if (argc == 2 && strcmp(argv[1], "keys") == 0)
		return print_keys();
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return print_list(strtoll(argv[2], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "png") == 0) {
		result = ush_qr_png(argv[2], (uint32_t)strtoul(argv[3], NULL, 10), &png, &bytes);
		if (result == 0) {
			fwrite(png, 1, bytes, stdout);
			free(png);
		}
	} else if (argc == 3 && strcmp(argv[1], "svg") == 0) {
		result = ush_qr_svg(argv[2], &svg);
		if (result == 0) {
			fputs(svg, stdout);
			free(svg);
		}
	}
	return result == 0 ? 0 : 1;
}
