/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `usher load`: one table that parses, checks ranges and prints the help. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "load.h"

enum option_type {
	NUMBER,
	TEXT,
	FLAG,
	VENUE,
	HEADING
};

struct option_row {
	const char *name;
	const char *argument;
	const char *help;
	enum option_type type;
	size_t offset;
	/* NUMBER: what is stored is the number times `unit`, which must lie in min..max. */
	double unit;
	double min;
	double max;
};

#define AT(member) offsetof(struct load_options, member)
#define HEAD(text) \
	{ \
		NULL, NULL, text, HEADING, 0, 0, 0, 0 \
	}
#define NUM(name, arg, member, unit, min, max, help) \
	{ \
		name, arg, help, NUMBER, AT(member), unit, min, max \
	}
#define STR(name, arg, member, help) \
	{ \
		name, arg, help, TEXT, AT(member), 0, 0, 0 \
	}
#define YES(name, member, help) \
	{ \
		name, NULL, help, FLAG, AT(member), 0, 0, 0 \
	}

static const struct option_row rows[] = {
	HEAD("Where to (one of --port, --vdev, --pci, --udp, --write-pcap)"),
	STR("port", "KIND:PATH", transport.port,
		"DPDK to a peer on this host: vhost:SOCKET (usherd holds the socket; the\n"
		"default, beside the control socket), vhost-server:SOCKET (we hold it), memif:SOCKET"),
	STR("vdev", "STRING", transport.vdev,
		"any DPDK device, for instance net_af_packet0,iface=v1"),
	STR("pci", "ADDRESS", transport.pci, "a NIC bound to a DPDK driver"),
	STR("udp", "ADDR:PORT", transport.udp, "plain UDP sockets instead of DPDK"),
	STR("write-pcap", "FILE", transport.pcap, "write the frames to a file; nothing is sent"),
	STR("to", "ADDR:PORT", transport.to, "the appliance (DPDK, pcap; default 10.77.0.1:7447)"),
	STR("ip", "ADDR", transport.ip, "our address (DPDK, pcap; default 10.77.0.2 or fd77::2)"),
	STR("mac", "MAC", transport.mac, "our MAC (default: the device's)"),
	STR("peer-mac", "MAC", transport.peer_mac, "do not ask by ARP or neighbour solicitation"),
	NUM("flows", "N", transport.flows, 1, 1, 4096, "source ports, or sockets (default 16)"),
	NUM("source-port", "N", transport.source_port, 1, 1, 61000, "first one (default 20000)"),
	NUM("core", "N", transport.core, 1, 0, 4095, "CPU to poll on (DPDK; default: the last)"),
	YES("no-huge", transport.no_huge, "DPDK without hugepages (default: when there are none)"),
	YES("huge", transport.huge, "DPDK with hugepages, or fail"),
	NUM("queue-size", "N", transport.queue_size, 1, 64, 32768, "ring entries (default 1024)"),
	STR("file-prefix", "NAME", transport.file_prefix, "DPDK's file prefix"),
	STR("eal", "ARGS", transport.eal, "further EAL arguments, separated by spaces"),
	YES("no-checksum", transport.no_checksum, "IPv4: UDP checksum 0; do not check replies'"),
	NUM("wait", "SECONDS", transport.wait_ns, 1e9, 0, 1e13,
		"how long to wait for the appliance to appear (default 30)"),
	YES("verbose", transport.verbose, "show DPDK's own messages"),
	HEAD("How much"),
	NUM("rate", "R", rate, 1, 0, 1e8,
		"requests a second, at even distances, whether answered or not (default 10k);\n"
		"0: closed loop, as fast as --window allows"),
	NUM("window", "W", window, 1, 1, 1 << 20, "requests under way when --rate 0 (default 256)"),
	NUM("pack", "N", pack, 1, 1, LOAD_PACK_MAX,
		"requests a datagram (default 1), up to 1,408 bytes; one that is not full leaves when\n"
		"its oldest request has waited for 1 ms, or half of --timeout if that is less"),
	NUM("duration", "SECONDS", duration_ns, 1e9, 1e6, 1e15, "how long (default 10)"),
	NUM("requests", "N", requests, 1, 1, 1e15, "how many at most"),
	NUM("outstanding", "N", outstanding, 1, 64, 1 << 24,
		"most requests under way (default: what --rate x --timeout needs)"),
	HEAD("What"),
	STR("mix", "KIND=WEIGHT,..", mix,
		"default uniform=100; kinds: uniform hot sweep multi release query status retry\n"
		"double malformed"),
	STR("event", "LIST", events, "events, for instance 1 or 1-4,9 (default 1)"),
	{"venue", "FILE",
		"compiled venue image (usher event compile), once for all events or once for each;\n"
		"default: ask the appliance which seats are free",
		VENUE, 0, 0, 0, 0},
	NUM("seats-per-request", "K", seats_per_request, 1, 1, 64, "adjacent seats (default 1)"),
	NUM("hot-rows", "N", hot_rows, 1, 1, 65536, "rows that `hot` claims from (default 1)"),
	NUM("users", "N", users, 1, 1, 1e9, "simulated users (default 1M)"),
	NUM("user-base", "N", user_base, 1, 1, 1e18, "id of the first (default 1)"),
	NUM("request-id-base", "N", request_id_base, 1, 1, 4e9,
		"first request id of each user (default 1); a later run against the same journal\n"
		"starts at the earlier one's request_id_next"),
	NUM("hold-ms", "MS", hold_ms, 1, 0, 4e9, "life of a hold (default: the event's)"),
	NUM("seed", "N", seed, 1, 0, 1e15, "same seed, same requests (default 1)"),
	HEAD("Answers"),
	NUM("timeout", "MS", timeout_ns, 1e6, 1e5, 1e12, "unanswered: send again (default 200)"),
	NUM("retries", "N", retries, 1, 0, 1e6, "how often, then it is lost (default 50)"),
	NUM("backoff", "MS", backoff_ns, 1e6, 1e3, 1e12, "pause after BUSY or RETRY (default 1)"),
	YES("echo", echo, "count our own packets coming back as answers (to measure a forwarder)"),
	YES("allow-loss", allow_loss, "lost requests do not make the exit status 1"),
	HEAD("Reports"),
	STR("ack-file", "FILE", ack_file, "write each granted change, for usher verify --acks"),
	YES("append", append, "continue that file"),
	STR("json", "FILE", json, "write the figures as one JSON object; - is stdout"),
	STR("progress", "HOW", progress, "line (default), json or none; each second, on stderr"),
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const char *const kind_name[LOAD_KIND_COUNT] = {
	[LOAD_UNIFORM] = "uniform",
	[LOAD_HOT] = "hot",
	[LOAD_SWEEP] = "sweep",
	[LOAD_MULTI] = "multi",
	[LOAD_RELEASE] = "release",
	[LOAD_QUERY] = "query",
	[LOAD_STATUS] = "status",
	[LOAD_RETRY] = "retry",
	[LOAD_DOUBLE] = "double",
	[LOAD_MALFORMED] = "malformed",
};

static void print_wrapped(const char *text, const char *indent)
{
	for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
		printf("%.*s\n%s", (int)(end - text), text, indent);
	printf("%s\n", text);
}

static void print_help(void)
{
	char left[64];

	printf("usage: usher load [OPTIONS]\n\n"
	       "Books seats the way a crowd does, on schedule whether or not answers come, and\n"
	       "measures each answer from the moment its request was meant to leave.\n");
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].type == HEADING) {
			printf("\n%s\n", rows[i].help);
			continue;
		}
		snprintf(left, sizeof(left), "--%s %s", rows[i].name,
			rows[i].argument != NULL ? rows[i].argument : "");
		printf("  %-26s ", left);
		print_wrapped(rows[i].help, "                             ");
	}
	printf("\nNumbers may end in k, M or G. Examples:\n"
	       "  usher load --port vhost:/run/usher/port0.sock --rate 200k --duration 30 \\\n"
	       "      --mix uniform=60,hot=20,retry=10,malformed=5,multi=5 --ack-file acks\n"
	       "  usher load --udp 127.0.0.1:7447 --rate 1k --users 1000 --venue club.img\n"
	       "  usher load --port vhost:/run/usher/port0.sock --rate 0 --window 512 --mix sweep=1\n"
	       "  usher load --write-pcap flood.pcap --requests 100k --venue arena.img --rate 1M\n"
	       "Exit status: 0; 1 if a request was lost, a seat was granted twice, a repeat was\n"
	       "answered differently or a malformed request was accepted; 2 usage.\n");
}

/* "1.5M" -> 1500000. ret: false if it is no number. */
static bool parse_number(const char *text, double *value)
{
	char *end;

	*value = strtod(text, &end);
	if (end == text)
		return false;
	switch (*end) {
	case 'k':
		*value *= 1e3;
		end++;
		break;
	case 'M':
		*value *= 1e6;
		end++;
		break;
	case 'G':
		*value *= 1e9;
		end++;
		break;
	default:
		break;
	}
	return *end == '\0';
}

static int store_number(
	struct load_options *options, const struct option_row *row, const char *argument)
{
	double value;
	uint64_t number;

	if (!parse_number(argument, &value)) {
		fprintf(stderr, "usher load: --%s: `%s` is not a number\n", row->name, argument);
		return -USH_EINVAL;
	}
	value *= row->unit;
	if (!(value >= row->min && value <= row->max)) {
		fprintf(stderr, "usher load: --%s: %s is outside %g to %g\n", row->name, argument,
			row->min / row->unit, row->max / row->unit);
		return -USH_EINVAL;
	}
	number = (uint64_t)(value + 0.5);
	memcpy((char *)options + row->offset, &number, sizeof(number));
	return 0;
}

static int store(struct load_options *options, const struct option_row *row, const char *argument)
{
	const bool yes = true;

	switch (row->type) {
	case NUMBER:
		return store_number(options, row, argument);
	case TEXT:
		memcpy((char *)options + row->offset, &argument, sizeof(argument));
		return 0;
	case FLAG:
		memcpy((char *)options + row->offset, &yes, sizeof(yes));
		return 0;
	case VENUE:
		if (options->venue_count == LOAD_VENUES_MAX) {
			fprintf(stderr, "usher load: more than %u --venue\n", LOAD_VENUES_MAX);
			return -USH_EINVAL;
		}
		options->venue[options->venue_count++] = argument;
		return 0;
	case HEADING:
	default:
		return -USH_EINVAL;
	}
}

/* "uniform=60,hot=40" */
static int parse_mix(struct load_options *options)
{
	const char *at = options->mix;

	while (*at != '\0') {
		size_t name_size = strcspn(at, "="), kind;
		char *end;
		unsigned long weight;

		for (kind = 0; kind < LOAD_KIND_COUNT; kind++) {
			if (strlen(kind_name[kind]) == name_size &&
				strncmp(kind_name[kind], at, name_size) == 0)
				break;
		}
		if (kind == LOAD_KIND_COUNT || at[name_size] != '=') {
			fprintf(stderr,
				"usher load: --mix: at `%s`: want KIND=WEIGHT, see --help\n", at);
			return -USH_EINVAL;
		}
		at += name_size + 1;
		weight = strtoul(at, &end, 10);
		if (end == at || weight > 1000 || (*end != '\0' && *end != ',')) {
			fprintf(stderr, "usher load: --mix: `%s`: want a weight of 0 to 1000\n",
				at);
			return -USH_EINVAL;
		}
		options->weight[kind] = (uint32_t)weight;
		at = *end == ',' ? end + 1 : end;
	}
	for (size_t kind = 0; kind < LOAD_KIND_COUNT; kind++)
		options->weight_sum += options->weight[kind];
	if (options->weight_sum == 0 || options->weight_sum > 1000) {
		fprintf(stderr, "usher load: --mix: the weights must add up to 1 to 1000\n");
		return -USH_EINVAL;
	}
	return 0;
}

/* "1-4,9" */
static int parse_events(struct load_options *options)
{
	const uint32_t most = sizeof(options->event_id) / sizeof(options->event_id[0]);
	const char *at = options->events;

	do {
		char *end;
		unsigned long first = strtoul(at, &end, 10), last = first;

		if (end != at && *end == '-')
			last = strtoul(end + 1, &end, 10);
		if (end == at || first == 0 || last > USH_EVENT_ID_MAX || last < first ||
			(*end != '\0' && *end != ',') ||
			last - first >= most - options->event_count) {
			fprintf(stderr,
				"usher load: --event: `%s`: want at most %u ids of 1 to %u, like "
				"1-4,9\n",
				at, most, USH_EVENT_ID_MAX);
			return -USH_EINVAL;
		}
		for (unsigned long id = first; id <= last; id++)
			options->event_id[options->event_count++] = (uint32_t)id;
		at = *end == ',' ? end + 1 : end;
	} while (*at != '\0');
	return 0;
}

/* The socket of usherd's first port stands beside its control socket. */
static const char *default_port(void)
{
	static char port[256];
	const char *control = ush_client_default_path();
	const char *slash = strrchr(control, '/');

	snprintf(port, sizeof(port), "vhost:%.*s/port0.sock",
		slash != NULL ? (int)(slash - control) : 1, slash != NULL ? control : ".");
	return port;
}

static int check_together(struct load_options *options)
{
	const struct load_transport_options *t = &options->transport;
	int ways = (t->port != NULL) + (t->vdev != NULL) + (t->pci != NULL) + (t->udp != NULL) +
		   (t->pcap != NULL);

	if (ways > 1) {
		fprintf(stderr, "usher load: only one of --port, --vdev, --pci, --udp and "
				"--write-pcap\n");
		return -USH_EINVAL;
	}
	if (ways == 0)
		options->transport.port = default_port();
	if (t->pcap != NULL && options->venue_count == 0) {
		fprintf(stderr, "usher load: --write-pcap needs --venue: nobody can be asked\n");
		return -USH_EINVAL;
	}
	if (options->venue_count > 1 && options->venue_count != options->event_count) {
		fprintf(stderr, "usher load: %u --venue for %u events: give one, or one each\n",
			options->venue_count, options->event_count);
		return -USH_EINVAL;
	}
	if (options->users >= UINT32_MAX - 1) {
		fprintf(stderr, "usher load: too many --users\n");
		return -USH_EINVAL;
	}
	if (strcmp(options->progress, "line") == 0) {
		options->progress_kind = LOAD_PROGRESS_LINE;
	} else if (strcmp(options->progress, "json") == 0) {
		options->progress_kind = LOAD_PROGRESS_JSON;
	} else if (strcmp(options->progress, "none") == 0) {
		options->progress_kind = LOAD_PROGRESS_NONE;
	} else {
		fprintf(stderr, "usher load: --progress: want line, json or none\n");
		return -USH_EINVAL;
	}
	return 0;
}

/* Twice what the rate sends within a timeout: room for the slow tail. */
static void set_outstanding(struct load_options *options)
{
	double want = (double)options->rate * (double)options->timeout_ns / 1e9 * 2;

	if (options->rate == 0)
		options->outstanding = options->window;
	else if (options->outstanding == 0)
		options->outstanding = want < 65536 ? 65536 : want > 4e6 ? 4000000 : (uint64_t)want;
}

static void set_defaults(struct load_options *options)
{
	*options = (struct load_options){
		.transport = {.to = NULL,
			.core = UINT64_MAX,
			.flows = 16,
			.source_port = 20000,
			.queue_size = 1024,
			.wait_ns = 30 * LOAD_NS_PER_S},
		.rate = 10000,
		.window = 256,
		.pack = 1,
		.duration_ns = UINT64_MAX,
		.requests = UINT64_MAX,
		.users = 1000000,
		.user_base = 1,
		.request_id_base = 1,
		.seats_per_request = 1,
		.hot_rows = 1,
		.timeout_ns = 200 * LOAD_NS_PER_MS,
		.retries = 50,
		.backoff_ns = LOAD_NS_PER_MS,
		.seed = 1,
		.events = "1",
		.mix = "uniform=100",
		.progress = "line",
	};
}

int load_options_parse(struct load_options *options, int argc, char **argv)
{
	struct option longs[ROW_COUNT + 2] = {{"help", no_argument, NULL, 'h'}};
	size_t count = 1;
	int chosen, index = 0;

	set_defaults(options);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].type != HEADING)
			longs[count++] = (struct option){rows[i].name,
				rows[i].argument != NULL ? required_argument : no_argument, NULL,
				(int)(256 + i)};
	}
	while ((chosen = getopt_long(argc, argv, "h", longs, &index)) != -1) {
		if (chosen == 'h') {
			print_help();
			return 1;
		}
		if (chosen < 256) {
			fprintf(stderr, "usher load: see usher load --help\n");
			return -USH_EINVAL;
		}
		if (store(options, &rows[chosen - 256], optarg) != 0)
			return -USH_EINVAL;
	}
	if (optind < argc) {
		fprintf(stderr, "usher load: what is `%s`? See usher load --help\n", argv[optind]);
		return -USH_EINVAL;
	}
	if (parse_mix(options) != 0 || parse_events(options) != 0 || check_together(options) != 0)
		return -USH_EINVAL;
	if (options->duration_ns == UINT64_MAX && options->requests == UINT64_MAX)
		options->duration_ns = 10 * LOAD_NS_PER_S;
	set_outstanding(options);
	return 0;
}
