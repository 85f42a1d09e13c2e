/* SPDX-License-Identifier: Apache-2.0 */
#include "apply/apply.h"
#include "apply/internal.h"

/* Records whose user and hold are named. */
static bool names_hold(const struct ush_record *r)
{
	return r->user != 0 && r->type != USH_RECORD_TYPE_PAD && r->type != USH_RECORD_TYPE_OPEN;
}

void ush_apply_ahead(
	const struct ush_state *state, const struct ush_record *records, uint32_t count)
{
	const struct ush_users *users = state->users;

	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		uint32_t index = ush_hold_id_index(r->hold);

		if (!names_hold(r))
			continue;
		USH_PREFETCH_WRITE(ush_user_home(users, ush_user_hash(users, r->user, r->event)));
		if (index < state->holds->count)
			USH_PREFETCH_WRITE(&state->holds->lines[index]);
	}
}

void ush_apply_near(const struct ush_state *state, const struct ush_record *records, uint32_t count)
{
	const struct ush_users *users = state->users;

	for (uint32_t i = 0; i < count; i++) {
		const struct ush_record *r = &records[i];
		struct ush_user *home;
		uint64_t hash;

		if (!names_hold(r))
			continue;
		hash = ush_user_hash(users, r->user, r->event);
		home = ush_user_home(users, hash);
		if (ush_user_has_key(home, r->user, r->event))
			continue;
		/* The search goes on there, or the user becomes known. */
		if (atomic_load_explicit(&home->lock, memory_order_relaxed) == USH_USER_EMPTY)
			ush_touch(ush_user_known_word(users, hash));
		else
			ush_touch(ush_user_after(users, home));
	}
}
