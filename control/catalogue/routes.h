/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's handlers.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: included from elsewhere.
 */
#ifndef USH_CATALOGUE_ROUTES_H
#define USH_CATALOGUE_ROUTES_H

struct ush_catalogue;
struct ush_http_request;

void cat_events_handle(struct ush_http_request *request, void *context);
void cat_search_handle(struct ush_http_request *request, void *context);
void cat_event_handle(struct ush_http_request *request, void *context);
void cat_venues_handle(struct ush_http_request *request, void *context);
void cat_venue_handle(struct ush_http_request *request, void *context);
void cat_performers_handle(struct ush_http_request *request, void *context);
void cat_venue_create_handle(struct ush_http_request *request, void *context);
void cat_event_create_handle(struct ush_http_request *request, void *context);
void cat_event_change_handle(struct ush_http_request *request, void *context);
void cat_import_handle(struct ush_http_request *request, void *context);
void cat_publish_handle(struct ush_http_request *request, void *context);
void cat_status_handle(struct ush_http_request *request, void *context);
/* The clock that opens and ends sales. */
int cat_tick_open(struct ush_catalogue *catalogue);
void cat_tick_close(struct ush_catalogue *catalogue);

#endif /* USH_CATALOGUE_ROUTES_H */
