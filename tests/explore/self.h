/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios whose outcome is known, for the test of the explorer itself.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: code under test.
 */
#ifndef USH_EXPLORE_SELF_H
#define USH_EXPLORE_SELF_H

#include "explore/explore.h"

/* Additions of each thread in self_add. */
#define SELF_ADDS 3u

/* Fetch-adds of one word: every interleaving ends in a state of its own. */
extern const struct explore_scenario self_add;
/* The same on words of their own, and one that is only read: nobody meets. */
extern const struct explore_scenario self_apart;
/* An addition by load and store: one may get lost. */
extern const struct explore_scenario self_lost;
/* Needs two preemptions to go wrong. */
extern const struct explore_scenario self_twice;
/* Data behind a flag: released; stored relaxed; flag first. */
extern const struct explore_scenario self_released;
extern const struct explore_scenario self_relaxed;
extern const struct explore_scenario self_early;
/* Waits for ever. */
extern const struct explore_scenario self_endless;
/* A broken assertion in a thread. */
extern const struct explore_scenario self_assertion;

#endif /* USH_EXPLORE_SELF_H */
