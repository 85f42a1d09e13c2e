/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stable codes of problem documents, and their titles.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: changes what a code means.
 */
#ifndef USH_HTTP_PROBLEM_H
#define USH_HTTP_PROBLEM_H

/* ret: its title; NULL for a code that is not in the table. */
const char *ush_http_problem_title(const char *code);

#endif /* USH_HTTP_PROBLEM_H */
