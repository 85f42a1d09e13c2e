/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured: a line each second, a table and a JSON object at the end. */
#include <errno.h>
#include <string.h>

#include "load.h"
#include "usher.h"

static const char *const status_name[USH_STATUS_COUNT + 1] = {
#define X(name, value) [value] = #name,
	USH_STATUS_EACH(X)
#undef X
		[USH_STATUS_COUNT] = "UNKNOWN",
};

static const char *const class_name[LOAD_CLASS_COUNT] = {
	[LOAD_CLASS_GRANTED] = "granted",
	[LOAD_CLASS_RELEASED] = "released",
	[LOAD_CLASS_REFUSED] = "refused",
	[LOAD_CLASS_READ] = "read",
};

static double per_second(uint64_t count, uint64_t ns)
{
	return ns == 0 ? 0 : (double)count * 1e9 / (double)ns;
}

static double us_at(const struct ush_histogram *histogram, uint32_t parts_per_million)
{
	return (double)ush_histogram_at(histogram, parts_per_million) / 1e3;
}

/* Requests that the schedule is behind by. */
static uint64_t backlog(const struct load *load, uint64_t behind_ns)
{
	return (uint64_t)((double)behind_ns * (double)load->options.rate / 1e9);
}

static uint64_t behind_ns(const struct load *load, uint64_t now_ns)
{
	if (load->options.rate == 0 || load->due_ns >= now_ns || load->issue_end_ns != 0)
		return 0;
	return now_ns - load->due_ns;
}

/* ---- each second --------------------------------------------------------------------------- */

static void progress_json(struct load *load, uint64_t now_ns, uint64_t span_ns)
{
	const struct load_stats *s = &load->stats, *b = &load->stats_before;

	fprintf(stderr,
		"{\"second\":%.1f,\"asked\":%llu,\"answered\":%llu,\"granted\":%llu,"
		"\"refused\":%llu,\"lost\":%llu,\"resent\":%llu,\"under_way\":%u,\"backlog\":%llu,"
		"\"double_granted\":%llu,\"asked_per_s\":%.0f,\"answered_per_s\":%.0f,"
		"\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"up\":%s}\n",
		(double)(now_ns - load->start_ns) / 1e9, (unsigned long long)s->asked,
		(unsigned long long)s->answered,
		(unsigned long long)s->by_class[LOAD_CLASS_GRANTED],
		(unsigned long long)s->by_class[LOAD_CLASS_REFUSED], (unsigned long long)s->lost,
		(unsigned long long)s->resent, load_track_count(load),
		(unsigned long long)backlog(load, behind_ns(load, now_ns)),
		(unsigned long long)s->double_granted, per_second(s->asked - b->asked, span_ns),
		per_second(s->answered - b->answered, span_ns), us_at(&load->second, 500000),
		us_at(&load->second, 990000), (double)load->second.max / 1e3,
		load->transport->up ? "true" : "false");
}

static void progress_line(struct load *load, uint64_t now_ns, uint64_t span_ns)
{
	const struct load_stats *s = &load->stats, *b = &load->stats_before;

	fprintf(stderr,
		"%6.1f s  asked %9.0f/s  answered %9.0f/s  granted %8.0f/s  under way %7u  behind "
		"%7llu  resent %llu  lost %llu  p50 %.0f us  p99 %.0f us  max %.0f us%s\n",
		(double)(now_ns - load->start_ns) / 1e9, per_second(s->asked - b->asked, span_ns),
		per_second(s->answered - b->answered, span_ns),
		per_second(
			s->by_class[LOAD_CLASS_GRANTED] - b->by_class[LOAD_CLASS_GRANTED], span_ns),
		load_track_count(load), (unsigned long long)backlog(load, behind_ns(load, now_ns)),
		(unsigned long long)s->resent, (unsigned long long)s->lost,
		us_at(&load->second, 500000), us_at(&load->second, 990000),
		(double)load->second.max / 1e3, load->transport->up ? "" : "  (away)");
}

void load_report_progress(struct load *load, uint64_t now_ns)
{
	uint64_t span_ns = now_ns - load->second_ns;

	if (load->options.progress_kind == LOAD_PROGRESS_LINE)
		progress_line(load, now_ns, span_ns);
	else if (load->options.progress_kind == LOAD_PROGRESS_JSON)
		progress_json(load, now_ns, span_ns);
	if (load->ack != NULL)
		fflush(load->ack);
	load->stats_before = load->stats;
	load->second_ns = now_ns;
	ush_histogram_init(&load->second);
}

/* ---- at the end ---------------------------------------------------------------------------- */

/* Requests the schedule wanted but never got to send. */
static uint64_t unsent(const struct load *load)
{
	return backlog(load, load->behind_end_ns);
}

static uint32_t next_request_id(const struct load *load)
{
	uint32_t most = (uint32_t)load->options.request_id_base;

	for (uint64_t i = 0; i < load->options.users; i++) {
		if (load->next_id[i] > most)
			most = load->next_id[i];
	}
	return most;
}

static void json_latency(FILE *out, const struct ush_histogram *histogram)
{
	fprintf(out, "\"p50_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":%.3f,\"max_us\":%.3f",
		us_at(histogram, 500000), us_at(histogram, 990000), us_at(histogram, 999000),
		(double)histogram->max / 1e3);
}

static void json_counts(FILE *out, const struct load *load)
{
	const struct load_stats *s = &load->stats;
	bool first = true;

	fprintf(out,
		"\"asked\":%llu,\"answered\":%llu,\"granted\":%llu,\"granted_seats\":%llu,"
		"\"released\":%llu,\"read\":%llu,\"refused_total\":%llu,\"refused\":{",
		(unsigned long long)s->asked, (unsigned long long)s->answered,
		(unsigned long long)s->by_class[LOAD_CLASS_GRANTED],
		(unsigned long long)s->granted_seats,
		(unsigned long long)s->by_class[LOAD_CLASS_RELEASED],
		(unsigned long long)s->by_class[LOAD_CLASS_READ],
		(unsigned long long)s->by_class[LOAD_CLASS_REFUSED]);
	for (uint32_t i = 0; i <= USH_STATUS_COUNT; i++) {
		if (s->refused[i] == 0)
			continue;
		fprintf(out, "%s\"%s\":%llu", first ? "" : ",", status_name[i],
			(unsigned long long)s->refused[i]);
		first = false;
	}
	fprintf(out,
		"},\"lost\":%llu,\"unanswered\":%llu,\"duplicates\":%llu,\"resent\":%llu,"
		"\"doubled\":%llu,\"told_to_wait\":%llu,\"unexpected\":%llu,\"unsent\":%llu,"
		"\"backlog_max\":%llu,\"double_granted\":%llu,\"repeats\":{\"asked\":%llu,"
		"\"forgotten\":%llu,\"changed\":%llu},\"malformed\":{\"sent\":%llu,"
		"\"answered\":%llu,\"accepted\":%llu},",
		(unsigned long long)s->lost, (unsigned long long)s->unanswered,
		(unsigned long long)s->duplicates, (unsigned long long)s->resent,
		(unsigned long long)s->doubled, (unsigned long long)s->told_to_wait,
		(unsigned long long)s->unexpected, (unsigned long long)unsent(load),
		(unsigned long long)backlog(load, load->behind_max_ns),
		(unsigned long long)s->double_granted, (unsigned long long)s->repeats,
		(unsigned long long)s->repeats_forgotten, (unsigned long long)s->repeats_changed,
		(unsigned long long)s->malformed_sent, (unsigned long long)s->malformed_answered,
		(unsigned long long)s->malformed_accepted);
}

static void print_json(FILE *out, const struct load *load, const struct ush_histogram *all,
	uint64_t span_ns, uint32_t request_id_next)
{
	const struct load_transport *t = load->transport;
	bool first = true;

	fprintf(out, "{");
	json_counts(out, load);
	fprintf(out, "\"requests_per_s\":%.1f,\"granted_per_s\":%.1f,\"seconds\":%.3f,",
		per_second(load->stats.answered, span_ns),
		per_second(load->stats.by_class[LOAD_CLASS_GRANTED], span_ns),
		(double)span_ns / 1e9);
	json_latency(out, all);
	fprintf(out, ",\"latency\":{");
	for (uint32_t i = 0; i < LOAD_CLASS_COUNT; i++) {
		if (load->latency[i].count == 0)
			continue;
		fprintf(out, "%s\"%s\":{\"count\":%llu,", first ? "" : ",", class_name[i],
			(unsigned long long)load->latency[i].count);
		json_latency(out, &load->latency[i]);
		fprintf(out, "}");
		first = false;
	}
	if (t->outages != 0 && load->steady.count != 0) {
		fprintf(out, "},\"before_outage\":{\"count\":%llu,",
			(unsigned long long)load->steady.count);
		json_latency(out, &load->steady);
	}
	fprintf(out,
		"},\"packets\":{\"sent\":%llu,\"received\":%llu,\"stray\":%llu,\"bad\":%llu},"
		"\"outages\":%llu,\"ack_entries\":%llu,\"request_id_next\":%u,\"rate\":%llu,"
		"\"window\":%llu,\"pack\":%llu,\"seed\":%llu}\n",
		(unsigned long long)t->sent_packets, (unsigned long long)t->received_packets,
		(unsigned long long)t->stray_packets, (unsigned long long)t->bad_packets,
		(unsigned long long)t->outages, (unsigned long long)load->stats.ack_entries,
		request_id_next, (unsigned long long)load->options.rate,
		(unsigned long long)(load->options.rate == 0 ? load->options.window : 0),
		(unsigned long long)load->options.pack, (unsigned long long)load->options.seed);
}

static void table_row(FILE *out, const char *name, uint64_t value)
{
	if (value != 0)
		fprintf(out, "  %-28s %14llu\n", name, (unsigned long long)value);
}

static void latency_row(FILE *out, const char *name, const struct ush_histogram *h)
{
	if (h->count != 0)
		fprintf(out, "  %-14s %12llu %10.1f %10.1f %10.1f %10.1f\n", name,
			(unsigned long long)h->count, us_at(h, 500000), us_at(h, 990000),
			us_at(h, 999000), (double)h->max / 1e3);
}

static void table_latency(FILE *out, const struct load *load)
{
	fprintf(out, "\n  %-14s %12s %10s %10s %10s %10s   us, from the intended moment\n",
		"answers", "count", "p50", "p99", "p99.9", "max");
	for (uint32_t i = 0; i < LOAD_CLASS_COUNT; i++)
		latency_row(out, class_name[i], &load->latency[i]);
	if (load->transport->outages != 0)
		latency_row(out, "before outage", &load->steady);
}

static void print_table(FILE *out, const struct load *load, uint64_t span_ns)
{
	const struct load_stats *s = &load->stats;
	char name[48];

	fprintf(out, "\n  %-28s %14llu\n  %-28s %14llu  %.0f/s for %.1f s\n", "asked",
		(unsigned long long)s->asked, "answered", (unsigned long long)s->answered,
		per_second(s->answered, span_ns), (double)span_ns / 1e9);
	fprintf(out, "  %-28s %14llu  %llu seats\n", "granted",
		(unsigned long long)s->by_class[LOAD_CLASS_GRANTED],
		(unsigned long long)s->granted_seats);
	table_row(out, "released", s->by_class[LOAD_CLASS_RELEASED]);
	table_row(out, "read", s->by_class[LOAD_CLASS_READ]);
	for (uint32_t i = 0; i <= USH_STATUS_COUNT; i++) {
		snprintf(name, sizeof(name), "refused: %s", status_name[i]);
		table_row(out, name, s->refused[i]);
	}
	fprintf(out, "  %-28s %14llu\n  %-28s %14llu\n", "lost", (unsigned long long)s->lost,
		"granted twice", (unsigned long long)s->double_granted);
	table_row(out, "unanswered when stopped", s->unanswered);
	table_row(out, "due but never sent", unsent(load));
	table_row(out, "furthest behind schedule", backlog(load, load->behind_max_ns));
	table_row(out, "sent again", s->resent);
	table_row(out, "sent twice on purpose", s->doubled);
	table_row(out, "told to wait (RETRY, BUSY)", s->told_to_wait);
	table_row(out, "answers to answered", s->duplicates);
	table_row(out, "unexpected messages", s->unexpected);
	table_row(out, "repeats", s->repeats);
	table_row(out, "repeats forgotten", s->repeats_forgotten);
	table_row(out, "repeats answered otherwise", s->repeats_changed);
	table_row(out, "malformed sent", s->malformed_sent);
	table_row(out, "malformed refused by name", s->malformed_answered - s->malformed_accepted);
	table_row(out, "malformed ACCEPTED", s->malformed_accepted);
	table_row(out, "packets sent", load->transport->sent_packets);
	table_row(out, "packets received", load->transport->received_packets);
	table_row(out, "outages of the link", load->transport->outages);
	table_row(out, "frames with a bad checksum", load->transport->bad_packets);
	table_latency(out, load);
}

static int write_json(const struct load *load, const struct ush_histogram *all, uint64_t span_ns)
{
	const char *path = load->options.json;
	uint32_t request_id_next = next_request_id(load);
	FILE *out;

	if (path == NULL)
		return USHER_OK;
	if (strcmp(path, "-") == 0) {
		print_json(stdout, load, all, span_ns, request_id_next);
		return fflush(stdout) == 0 ? USHER_OK : USHER_FAILED;
	}
	out = fopen(path, "w");
	if (out != NULL)
		print_json(out, load, all, span_ns, request_id_next);
	if (out == NULL || fclose(out) != 0) {
		fprintf(stderr, "usher load: %s: %s\n", path, strerror(errno));
		return USHER_FAILED;
	}
	return USHER_OK;
}

int load_report_end(struct load *load, uint64_t now_ns)
{
	static struct ush_histogram all;
	const struct load_stats *s = &load->stats;
	uint64_t last_ns = s->last_ns != 0 ? s->last_ns : now_ns;
	uint64_t span_ns = last_ns - load->start_ns;
	bool json_on_stdout = load->options.json != NULL && strcmp(load->options.json, "-") == 0;

	ush_histogram_init(&all);
	for (uint32_t i = 0; i < LOAD_CLASS_COUNT; i++)
		ush_histogram_merge(&all, &load->latency[i]);
	print_table(json_on_stdout ? stderr : stdout, load, span_ns);
	if (write_json(load, &all, span_ns) != USHER_OK)
		return USHER_FAILED;
	if (s->double_granted != 0 || s->repeats_changed != 0 || s->malformed_accepted != 0)
		return USHER_FAILED;
	return s->lost == 0 || load->options.allow_loss ? USHER_OK : USHER_FAILED;
}
