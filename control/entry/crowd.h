/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many accounts a device, or an address, has shown lately, and what makes a client suspicious.
 *
 * Owns:  a table of bounded size.
 * Reads: nothing.
 * Never: refuses anybody; remembers an account, an address or a device as it is: only keyed hashes.
 */
#ifndef USH_ENTRY_CROWD_H
#define USH_ENTRY_CROWD_H

#include "base/base.h"

struct ush_crowd;

/* Accounts that are told apart; beyond, it is "so many or more". */
#define USH_CROWD_ACCOUNTS_MAX 12u

/* in: entries: 64 bytes each, a power of two of 16 or more. ret: NULL: no memory. */
struct ush_crowd *ush_crowd_new(uint32_t entries, const struct ush_key *key);
void ush_crowd_free(struct ush_crowd *crowd);

/* An account came with `what` (a device, an address; kind tells them apart). ret: accounts seen
 * with it within window_us since the last of them, this one included, up to USH_CROWD_ACCOUNTS_MAX.
 */
uint32_t ush_crowd_see(struct ush_crowd *crowd, uint32_t kind, uint64_t what, uint64_t account,
	uint64_t window_us, uint64_t now_us);

enum ush_captcha_says {
	USH_CAPTCHA_OFF, /* none is asked for */
	USH_CAPTCHA_GOOD,
	USH_CAPTCHA_FAILED,
	USH_CAPTCHA_NONE, /* asked for, and the client says it has none */
	USH_CAPTCHA_AWAY, /* the provider does not answer: nobody's fault */
};

/* What is known of a client that joins. */
struct ush_crowd_client {
	enum ush_captcha_says captcha;
	uint32_t device_accounts; /* 0: no fingerprint was given */
	uint32_t address_accounts;
	bool verified_fan;
};
struct ush_crowd_bounds {
	uint32_t device_accounts;  /* more are suspicious; 0: not looked at */
	uint32_t address_accounts; /* the same; only together with another sign */
};

/*
 * Points of suspicion: from USH_CROWD_SLOW on a client joins the slow queue. A failed or missing
 * CAPTCHA, and a device of many accounts, suffice by themselves; an address of many accounts (an
 * office, a mobile network) does only together with a missing fingerprint or a silent provider of
 * CAPTCHAs. A fan who was verified gets one point less.
 */
#define USH_CROWD_SLOW 2u
uint32_t ush_crowd_score(
	const struct ush_crowd_client *client, const struct ush_crowd_bounds *bounds);

#endif /* USH_ENTRY_CROWD_H */
