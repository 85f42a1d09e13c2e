/* SPDX-License-Identifier: Apache-2.0 */
#include "tickets/money.h"

#include <stdio.h>
#include <string.h>

void tickets_money(int64_t minor, const char *currency, char text[TICKETS_MONEY_BYTES])
{
	static const char *const none =
		"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
	static const char *const three = "BHD IQD JOD KWD LYD OMR TND";
	uint64_t rest = minor < 0 ? 0 - (uint64_t)minor : (uint64_t)minor;
	int decimals = strstr(none, currency) != NULL ? 0 : strstr(three, currency) != NULL ? 3 : 2;
	char turned[32];
	size_t at = 0, out = 0;

	/* From the last digit on. */
	for (int digit = 0; digit <= decimals || rest > 0; digit++) {
		if (digit == decimals && decimals > 0)
			turned[at++] = '.';
		if (digit > decimals && (digit - decimals) % 3 == 0)
			turned[at++] = ',';
		turned[at++] = (char)('0' + rest % 10);
		rest /= 10;
	}
	if (minor < 0)
		turned[at++] = '-';
	while (at > 0)
		text[out++] = turned[--at];
	snprintf(text + out, TICKETS_MONEY_BYTES - out, " %.3s", currency);
}
