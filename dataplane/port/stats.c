/* SPDX-License-Identifier: Apache-2.0 */
#include "port/stats.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/wire.h"

/* Counts all lines, keeps those from `first` on that fit. */
struct sink {
	char *text;
	size_t size;
	size_t used;
	uint64_t line;
	uint64_t first;
	/* First line that did not fit, 0: none so far. */
	uint64_t left_off;
};

static void USH_PRINTF(3, 4) emit(struct sink *sink, uint64_t value, const char *format, ...)
{
	uint64_t line = sink->line++;
	char text[160];
	va_list arguments;
	size_t size;

	if (line < sink->first || sink->left_off != 0)
		return;
	va_start(arguments, format);
	size = (size_t)vsnprintf(text, sizeof(text) - 24, format, arguments);
	va_end(arguments);
	if (size >= sizeof(text) - 24)
		size = sizeof(text) - 25;
	size += (size_t)snprintf(text + size, sizeof(text) - size, " %" PRIu64 "\n", value);
	if (size > sink->size - sink->used) {
		sink->left_off = line;
		return;
	}
	memcpy(sink->text + sink->used, text, size);
	sink->used += size;
}

void ush_stats_sum(const struct ush_stats *stats, struct ush_loop_counters *sum)
{
	uint64_t *to = (uint64_t *)(void *)sum;
	uint32_t i;
	size_t w;

	static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "words only");
	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < stats->loop_count; i++) {
		struct ush_loop_counters one;
		const uint64_t *from = (const uint64_t *)(const void *)&one;

		ush_loop_counters_read(ush_engine_loop(stats->engine, i), &one);
		for (w = 0; w < sizeof(one) / sizeof(uint64_t); w++)
			to[w] += from[w];
	}
}

/* in: prefix: "usher" or "usher_loop0". */
static void emit_loop(struct sink *sink, const char *prefix, const struct ush_loop_counters *c)
{
	uint64_t other = 0;
	uint32_t i;

	emit(sink, c->rx_packets, "%s_rx_packets", prefix);
	emit(sink, c->rx_bytes, "%s_rx_bytes", prefix);
	emit(sink, c->control_messages, "%s_control_messages", prefix);
#define X(name, value) emit(sink, c->status[value], "%s_status_" #name, prefix);
	USH_STATUS_EACH(X)
#undef X
#define X(name, value) emit(sink, c->answer[value], "%s_answer_" #name, prefix);
	USH_ANSWER_EACH(X)
#undef X
#define X(name, value) emit(sink, c->drop[value], "%s_drop_" #name, prefix);
	USH_DROP_EACH(X)
#undef X
	for (i = 0; i < sizeof(c->op) / sizeof(c->op[0]); i++)
		other += c->op[i];
#define X(name, value) \
	emit(sink, c->op[value], "%s_op_" #name, prefix); \
	other -= c->op[value];
	USH_OP_EACH(X)
#undef X
	emit(sink, other, "%s_op_other", prefix);
	emit(sink, c->turns, "%s_turns", prefix);
	emit(sink, c->idle_turns, "%s_idle_turns", prefix);
	emit(sink, c->records, "%s_records", prefix);
	emit(sink, c->expired, "%s_expired", prefix);
	emit(sink, c->waiting, "%s_waiting", prefix);
	emit(sink, c->repeated, "%s_repeated", prefix);
	emit(sink, c->wait_offers, "%s_wait_offers", prefix);
	emit(sink, c->wait_skipped, "%s_wait_skipped", prefix);
#define X(name, value) emit(sink, c->verdict[value], "%s_verdict_" #name, prefix);
	USH_VERDICT_EACH(X)
#undef X
}

static void emit_port(struct sink *sink, const struct ush_stats *stats, uint32_t index)
{
	const struct ush_port *port = &stats->ports[index];
	const char *name = port->config->name;
	struct ush_port_counters c;
	uint64_t dropped = 0, rx_packed = 0, tx_packed = 0;
	uint32_t i;

	ush_port_counters_read(port, &c);
	for (i = 0; i < stats->loop_count; i++) {
		const struct ush_port_queue *queue = stats->workers[i].queue[index];

		if (queue == NULL)
			continue;
		dropped += atomic_load_explicit(&queue->tx_dropped, memory_order_relaxed);
		rx_packed += atomic_load_explicit(&queue->rx_packed, memory_order_relaxed);
		tx_packed += atomic_load_explicit(&queue->tx_packed, memory_order_relaxed);
	}
	emit(sink, c.rx_packets, "usher_port_%s_rx_packets", name);
	emit(sink, c.rx_bytes, "usher_port_%s_rx_bytes", name);
	emit(sink, c.tx_packets, "usher_port_%s_tx_packets", name);
	emit(sink, c.tx_bytes, "usher_port_%s_tx_bytes", name);
	emit(sink, c.rx_missed, "usher_port_%s_rx_missed", name);
	emit(sink, c.rx_errors, "usher_port_%s_rx_errors", name);
	emit(sink, c.rx_no_buffer, "usher_port_%s_rx_no_buffer", name);
	emit(sink, c.tx_errors, "usher_port_%s_tx_errors", name);
	emit(sink, dropped, "usher_port_%s_tx_dropped", name);
	emit(sink, rx_packed, "usher_port_%s_rx_packed", name);
	emit(sink, tx_packed, "usher_port_%s_tx_packed", name);
	emit(sink, c.link_ups, "usher_port_%s_link_ups", name);
	emit(sink, c.link_downs, "usher_port_%s_link_downs", name);
}

static void emit_journal(struct sink *sink, const struct ush_journal *journal)
{
	struct ush_journal_counters c;

	memset(&c, 0, sizeof(c));
	ush_journal_counters_read(journal, &c);
	emit(sink, c.epoch, "usher_journal_epoch");
	emit(sink, c.writes, "usher_journal_writes");
	emit(sink, c.bytes, "usher_journal_bytes");
	emit(sink, c.blocks, "usher_journal_blocks");
	emit(sink, c.pads, "usher_journal_pads");
	emit(sink, c.in_flight, "usher_journal_in_flight");
	emit(sink, c.segments, "usher_journal_segments");
	emit(sink, c.spare_segments, "usher_journal_spare_segments");
	emit(sink, c.recycled_segments, "usher_journal_recycled_segments");
	emit(sink, c.removed_segments, "usher_journal_removed_segments");
	emit(sink, c.needed, "usher_journal_needed_sequence");
	emit(sink, c.write_ns_sum, "usher_journal_write_ns_sum");
	emit(sink, c.write_ns_max, "usher_journal_write_ns_max");
	emit(sink, c.durable, "usher_journal_durable_sequence");
	emit(sink, c.reserved, "usher_journal_reserved_sequence");
	emit(sink, c.chain_lag_blocks, "usher_journal_chain_lag_blocks");
}

static void emit_filter(struct sink *sink, const struct ush_port_filter *filter)
{
	struct ush_port_filter_counters c;

	if (filter == NULL)
		return;
	ush_port_filter_counters_read(filter, &c);
	emit(sink, c.received, "usher_filter_received");
	emit(sink, c.drop_full, "usher_filter_drop_FULL");
	emit(sink, c.drop_long, "usher_filter_drop_LONG");
	emit(sink, c.drop_error, "usher_filter_drop_ERROR");
	emit(sink, c.passed, "usher_filter_passed");
	emit(sink, c.discarded, "usher_filter_discarded");
	emit(sink, c.bypassed, "usher_filter_bypassed");
	emit(sink, c.repeated, "usher_filter_repeated");
	emit(sink, c.source_evicted, "usher_filter_source_evicted");
	emit(sink, c.user_evicted, "usher_filter_user_evicted");
	emit(sink, c.checks, "usher_filter_checks");
	emit(sink, c.load_bits, "usher_filter_load_bits");
	emit(sink, c.clocks, "usher_filter_clocks");
#define X(name, value) emit(sink, c.verdict[value], "usher_filter_verdict_" #name);
	USH_VERDICT_EACH(X)
#undef X
}

static void emit_events(struct sink *sink, struct ush_engine *engine)
{
	struct ush_event_view v;
	uint32_t event;

	for (event = 1; event <= USH_EVENT_ID_MAX; event++) {
		if (!ush_engine_event_view(engine, event, &v))
			continue;
		emit(sink, v.status, "usher_event_%u_status", event);
		emit(sink, v.row_count, "usher_event_%u_rows", event);
		emit(sink, v.seat_count, "usher_event_%u_seats", event);
		emit(sink, v.free_count, "usher_event_%u_free", event);
		emit(sink, v.house_count, "usher_event_%u_house", event);
		emit(sink, v.sold_count, "usher_event_%u_sold", event);
		emit(sink, v.changes, "usher_event_%u_changes", event);
		emit(sink, v.prices, "usher_event_%u_prices", event);
		emit(sink, v.digest, "usher_event_%u_digest", event);
	}
}

static void emit_control(struct sink *sink, const struct ush_control_counters *c)
{
	emit(sink, c->clients, "usher_control_clients");
	emit(sink, c->accepted, "usher_control_accepted");
	emit(sink, c->refused, "usher_control_refused");
	emit(sink, c->requests, "usher_control_requests");
	emit(sink, c->replies, "usher_control_replies");
	emit(sink, c->malformed, "usher_control_malformed");
	emit(sink, c->outstanding, "usher_control_outstanding");
}

size_t ush_stats_text(
	const struct ush_stats *stats, uint64_t first, char *text, size_t size, uint64_t *next)
{
	struct sink sink = {.text = text, .size = size, .first = first};
	struct ush_loop_counters counters;
	char prefix[32];
	uint32_t i;

	emit(&sink, stats->started_ns, "usher_started_ns");
	emit(&sink, stats->loop_count, "usher_loops");
	ush_stats_sum(stats, &counters);
	emit_loop(&sink, "usher", &counters);
	emit_journal(&sink, stats->journal);
	for (i = 0; i < stats->port_count; i++)
		emit_port(&sink, stats, i);
	emit_control(&sink, stats->control);
	emit_filter(&sink, stats->filter);
	for (i = 0; i < stats->loop_count; i++) {
		ush_loop_counters_read(ush_engine_loop(stats->engine, i), &counters);
		snprintf(prefix, sizeof(prefix), "usher_loop%u", i);
		emit_loop(&sink, prefix, &counters);
	}
	emit_events(&sink, stats->engine);
	*next = sink.left_off;
	return sink.used;
}
