/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amounts as people read them.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: reckons with them.
 */
#ifndef USH_TICKETS_MONEY_H
#define USH_TICKETS_MONEY_H

#include "base/base.h"

#define TICKETS_MONEY_BYTES 40u

/* "1,234.50 GBP": minor units, with the currency's number of decimals (ISO 4217). */
void tickets_money(int64_t minor, const char *currency, char text[TICKETS_MONEY_BYTES]);

#endif /* USH_TICKETS_MONEY_H */
