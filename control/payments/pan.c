/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of digits are cut at what is not a digit or one separator. A run longer than a card number
 * is none: order numbers and times are not searched for card numbers within.
 */
#include "payments/pan.h"

#define DIGITS_MIN 13
#define DIGITS_MAX 19

struct issuer {
	uint32_t first, last; /* of the first four digits */
	uint32_t lengths;     /* bit n: n digits */
};

#define LENGTH(n) (1u << (n))
static const struct issuer issuers[] = {
	{4000, 4999, LENGTH(13) | LENGTH(16) | LENGTH(19)}, /* Visa */
	{5100, 5599, LENGTH(16)}, {2221, 2720, LENGTH(16)}, /* Mastercard */
	{3400, 3499, LENGTH(15)}, {3700, 3799, LENGTH(15)}, /* American Express */
	{6011, 6011, LENGTH(16) | LENGTH(19)},              /* Discover */
	{6440, 6599, LENGTH(16) | LENGTH(19)}, {3000, 3059, LENGTH(14)},
	{3600, 3699, LENGTH(14) | LENGTH(16)},                                        /* Diners */
	{3800, 3999, LENGTH(14) | LENGTH(16)}, {3528, 3589, LENGTH(16) | LENGTH(19)}, /* JCB */
	{6200, 6299, LENGTH(16) | LENGTH(17) | LENGTH(18) | LENGTH(19)},              /* UnionPay */
	{5000, 5099, LENGTH(13) | LENGTH(16) | LENGTH(19)},                           /* Maestro */
	{5600, 5899, LENGTH(13) | LENGTH(16) | LENGTH(19)}, {6300, 6399, LENGTH(16) | LENGTH(19)},
	{6700, 6799, LENGTH(16) | LENGTH(19)}, {2200, 2204, LENGTH(16)}, /* Mir */
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool luhn(const uint8_t *digits, uint32_t count)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t digit = digits[count - 1 - i];

		if (i % 2 == 1)
			digit = digit < 5 ? digit * 2 : digit * 2 - 9;
		sum += digit;
	}
	return sum % 10 == 0;
}

static bool is_pan(const uint8_t *digits, uint32_t count)
{
	uint32_t first =
		(uint32_t)digits[0] * 1000 + digits[1] * 100u + digits[2] * 10u + digits[3];

	for (size_t i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++)
		if (first >= issuers[i].first && first <= issuers[i].last &&
			(issuers[i].lengths >> count & 1) != 0)
			return luhn(digits, count);
	return false;
}

/* ret: bytes of one separator between two digits at `at`; 0: there is none. */
static size_t separator(const uint8_t *at, size_t bytes)
{
	if (bytes >= 2 && (*at == ' ' || *at == '-' || *at == '.' || *at == '+') && is_digit(at[1]))
		return 1;
	if (bytes >= 4 && at[0] == '%' && at[1] == '2' &&
		(at[2] == '0' || at[2] == 'D' || at[2] == 'd') && is_digit(at[3]))
		return 3;
	return 0;
}

bool ush_pan_found(const void *text, size_t bytes, uint32_t digits_max)
{
	const uint8_t *at = text, *end = at + bytes;
	bool after_letter = false;

	while (at < end) {
		uint8_t digits[DIGITS_MAX];
		uint32_t count = 0;

		if (!is_digit(*at)) {
			after_letter = is_letter(*at);
			at++;
			continue;
		}
		while (at < end) {
			if (is_digit(*at)) {
				if (count < DIGITS_MAX)
					digits[count] = (uint8_t)(*at - '0');
				count++;
				at++;
			} else if (separator(at, (size_t)(end - at)) > 0) {
				at += separator(at, (size_t)(end - at));
			} else {
				break;
			}
		}
		if (count >= DIGITS_MIN && count <= DIGITS_MAX && count <= digits_max &&
			!after_letter && !(at < end && is_letter(*at)) && is_pan(digits, count))
			return true;
		after_letter = false;
	}
	return false;
}
