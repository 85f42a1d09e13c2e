/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the HTTP server counts, by name.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: goes down.
 */
#ifndef USH_HTTP_COUNTERS_H
#define USH_HTTP_COUNTERS_H

#include "http/server.h"

/* X(name, what is counted) */
#define USH_HTTP_COUNTER_EACH(X) \
	X(accepted, "connections taken") \
	X(too_many, "connections closed at once: there were connections_max") \
	X(accept_pauses, "no connections taken for 100 ms: no descriptor was free") \
	X(handshakes_failed, "TLS handshakes that failed, or connections that broke") \
	X(heads_late, "heads that were not complete after head_ms") \
	X(bodies_late, "bodies that were not complete after body_ms") \
	X(idle_closed, "connections closed after idle_ms") \
	X(slow_readers, "connections closed: the client took nothing for send_ms") \
	X(streams_too_slow, "streams closed: more than queued_bytes_max waited") \
	X(busy, "requests answered 503: there were requests_max") \
	X(requests, "requests taken") \
	X(answers_ok, "answers of status 200 to 399") \
	X(answers_client, "answers of status 400 to 499") \
	X(answers_server, "answers of status 500 to 599") \
	X(gone, "answers whose client had gone") \
	X(replayed, "answers replayed for an idempotency key") \
	X(streams, "streams opened")

struct ush_http_counters {
#define X(name, text) uint64_t name;
	USH_HTTP_COUNTER_EACH(X)
#undef X
	uint64_t refused[32]; /* by enum ush_http_refusal */
};

/* by: the event loop's thread. */
const struct ush_http_counters *ush_http_server_counters(const struct ush_http_server *server);
/* ret: all of them as an object, refusals by their names in lower case under "refused". */
json_t *ush_http_counters_json(const struct ush_http_server *server);

#endif /* USH_HTTP_COUNTERS_H */
