/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book that usher verify keeps, tools/ledger.h, in the simulation: it must find nothing, and
 * the same sums as the engine's own audit. Its names are those of sim/ledger.h; hence this header.
 *
 * Owns:  one book.
 * Reads: records in journal order.
 * Never: the simulation.
 */
#ifndef USH_SIM_AUDITOR_H
#define USH_SIM_AUDITOR_H

#include "base/base.h"
#include "loop/loop.h"

/* Begins a new book. */
void auditor_begin(void);
/* Books one run. ret: the first thing that is wrong, or NULL. */
const char *auditor_book(const struct ush_record *records, uint32_t count);
/* ret: what the book and the audit say differently, or NULL. */
const char *auditor_compare(const struct ush_engine_audit *audit);

#endif /* USH_SIM_AUDITOR_H */
