/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's begin and end, and its table of routes. */
#include "catalogue/internal.h"
#include "catalogue/routes.h"
#include "http/server.h"

static const struct ush_http_route routes[] = {
	{"GET", "/v1/events", cat_events_handle, 0, 0},
	{"GET", "/v1/events/{event}", cat_event_handle, 0, 0},
	{"GET", "/v1/search", cat_search_handle, 0, 0},
	{"GET", "/v1/venues", cat_venues_handle, 0, 0},
	{"GET", "/v1/venues/{venue}", cat_venue_handle, 0, 0},
	{"GET", "/v1/performers", cat_performers_handle, 0, 0},
	{NULL, NULL, NULL, 0, 0},
};
static const struct ush_http_route admin_routes[] = {
	{"POST", "/v1/admin/venues", cat_venue_create_handle, 0, 0},
	{"POST", "/v1/admin/events", cat_event_create_handle, 0, 0},
	{"PATCH", "/v1/admin/events/{event}", cat_event_change_handle, 0, 0},
	{"POST", "/v1/admin/import", cat_import_handle, USH_HTTP_RAW, 0},
	{"POST", "/v1/admin/events/{event}/publish", cat_publish_handle, 0, 0},
	{"POST", "/v1/admin/events/{event}/status", cat_status_handle, 0, 0},
	{NULL, NULL, NULL, 0, 0},
};

int ush_catalogue_open(
	struct ush_catalogue **catalogue, const struct ush_core *core, struct ush_message *message)
{
	/* One in a process, and never freed: requests under way when it closes end after it. */
	static struct ush_catalogue only;
	struct ush_catalogue *made = &only;

	*made = (struct ush_catalogue){.core = core};
	if (cat_tick_open(made) != 0) {
		ush_message_set(message, "no timer");
		return -USH_ENOMEM;
	}
	ush_http_routes_add(core->http, routes, made);
	if (!core->read_only)
		ush_http_routes_add(core->http, admin_routes, made);
	*catalogue = made;
	return 0;
}

void ush_catalogue_close(struct ush_catalogue *catalogue)
{
	cat_tick_close(catalogue);
}
