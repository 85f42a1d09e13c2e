/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KEY_ROTATE: the file of admission is read again, all of it, and put in force at once. The file is
 * what says which keys live (docs/adr/0015-keys-in-a-file.md); a restart reads the same one.
 *
 * Failure modes: a file that is not good is refused, with a text, and what was in force stays.
 */
#include <stdlib.h>
#include <string.h>

#include "admission/admission_file.h"
#include "port/control_internal.h"

/* Every loop has made a turn since the last rotation, so none still reads the configuration before
 * it, whose place the next one takes. */
static bool rotated_long_enough(struct ush_control *control)
{
	struct ush_loop_counters c;

	for (uint32_t i = 0; i < control->config.loop_count; i++) {
		ush_loop_counters_read(ush_engine_loop(control->config.engine, i), &c);
		if (c.turns == control->rotate_turns[i])
			return false;
	}
	return true;
}

static void remember_turns(struct ush_control *control)
{
	struct ush_loop_counters c;

	for (uint32_t i = 0; i < control->config.loop_count; i++) {
		ush_loop_counters_read(ush_engine_loop(control->config.engine, i), &c);
		control->rotate_turns[i] = c.turns;
	}
}

void control_rotate(struct ush_control *control, struct ush_control_message *message)
{
	struct ush_admit_config *next = NULL;
	struct ush_message why;
	uint32_t keys;

	if (control->config.admission_file == NULL) {
		control_answer(control, message, USH_STATUS_BAD_OP, 0, NULL);
		return;
	}
	next = malloc(sizeof(*next));
	if (next == NULL || !rotated_long_enough(control)) {
		free(next);
		control_answer(control, message, USH_STATUS_BUSY, 0, NULL);
		return;
	}
	if (ush_admission_read(control->config.admission_file, next, &why) != 0) {
		ush_diag(USH_DIAG_WARN, "key_rotate_refused", USH_TEXT("why", why.text));
		control_answer(
			control, message, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT, why.text);
	} else {
		keys = ush_admission_key_count(next);
		next->table_key = control->config.table_key;
		ush_engine_admission(control->config.engine, next);
		remember_turns(control);
		ush_diag(USH_DIAG_INFO, "key_rotate", USH_U64("keys", keys));
		control_answer(control, message, USH_STATUS_OK, keys, NULL);
	}
	explicit_bzero(next, sizeof(*next));
	free(next);
}
