/* SPDX-License-Identifier: Apache-2.0 */
/* The module's life. */
#include <stdlib.h>
#include <string.h>

#include "hooks/internal.h"

/* ret: true for http://127.0.0.1 and http://localhost, with any port. */
static bool is_local(const char *origin)
{
	static const char *const hosts[] = {"http://127.0.0.1", "http://localhost"};

	for (uint32_t i = 0; i < 2; i++) {
		const size_t bytes = strlen(hosts[i]);

		if (strncmp(origin, hosts[i], bytes) == 0 &&
			(origin[bytes] == '\0' || origin[bytes] == ':'))
			return true;
	}
	return false;
}

static int read_settings(struct ush_hooks *hooks, struct ush_message *message)
{
	const struct ush_core *core = hooks->core;
	const char *text = core->setting(core, "hooks", "allow_private");

	hooks->allow_private = text != NULL && strcmp(text, "yes") == 0;
	if (text != NULL && !hooks->allow_private && strcmp(text, "no") != 0) {
		ush_message_set(message, "hooks.allow_private is yes or no");
		return -USH_EINVAL;
	}
	if (hooks->allow_private && !is_local(core->origin)) {
		ush_message_set(message, "hooks.allow_private is for tests: http.origin must be "
					 "http://127.0.0.1 or http://localhost");
		return -USH_EINVAL;
	}
	return 0;
}

int ush_hooks_open(
	struct ush_hooks **hooks, const struct ush_core *core, struct ush_message *message)
{
	struct ush_hooks *made = calloc(1, sizeof(*made));
	int ret;

	USH_ASSERT(made != NULL);
	made->core = core;
	/* Released by close. */
	made->under_way = 1;
	ret = read_settings(made, message);
	if (ret != 0) {
		ush_hooks_close(made);
		return ret;
	}
	hooks_keep_open();
	if (!core->read_only)
		hooks_send_open(made);
	hooks_routes_open(made);
	*hooks = made;
	return 0;
}

void hooks_release(struct ush_hooks *hooks)
{
	hooks->under_way--;
	if (hooks->closed && hooks->under_way == 0)
		free(hooks);
}

void ush_hooks_close(struct ush_hooks *hooks)
{
	if (hooks == NULL)
		return;
	hooks->closed = true;
	if (hooks->sender != NULL)
		ush_sender_close(hooks->sender);
	hooks_release(hooks);
}
