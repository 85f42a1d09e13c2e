/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor: usher verify, which reads the same records, finds nothing wrong in them, and its
 * sums of seats, amounts and hold time are those of the engine. In a share of the runs, for its
 * book is large.
 */
#include "auditor.h"
#include "check.h"

static bool looks_on(const struct sim *sim)
{
	return (ush_mix64(sim->seed ^ 0x61756469) & 3) == 0;
}

static void durable(struct sim *sim, const struct ush_record *records, uint32_t count)
{
	const char *wrong;

	if (!looks_on(sim))
		return;
	/* The first record of a run is the box's own. */
	if (sim->audited_seed != sim->seed) {
		sim->audited_seed = sim->seed;
		auditor_begin();
	}
	wrong = auditor_book(records, count);
	if (wrong != NULL)
		sim_fail(sim, "auditor", "%s", wrong);
}

static void quiet(struct sim *sim)
{
	struct ush_engine_audit audit;
	struct ush_message message;
	const char *wrong;

	if (!looks_on(sim) || sim->audited_seed != sim->seed ||
		(!sim->disk_is_prompt && sim->step % 8 != 0))
		return;
	if (ush_engine_audit(sim->engine, &audit, &message) != 0) {
		sim_fail(sim, "auditor", "%s", message.text);
		return;
	}
	wrong = auditor_compare(&audit);
	if (wrong != NULL)
		sim_fail(sim, "auditor", "engine and auditor disagree about %s", wrong);
}

const struct check check_auditor = {.name = "auditor", .durable = durable, .quiet = quiet};
