/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher verify: the offline audit. Replays the journal through apply() as a restart would, keeps an
 * independent ledger beside it, recomputes the hash chain, audits the state that comes out, and
 * looks up every acknowledgement a client kept.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/ledger.h"
#include "tools/names.h"
#include "tools/offline.h"
#include "tools/usher.h"

#define CHAIN_KEPT (1u << 16)

static const char usage[] =
	"usage: usher verify [--acks FILE]... [--from-start] [--archive DIR] [--json] STATE\n"
	"       usher verify draw [OPTIONS] DRAW      recompute a published draw, see its --help\n"
	"\n"
	"Audits the journal in usherd's state directory STATE without changing it: no seat sold\n"
	"twice, no acknowledged change lost, seats conserved, hash chain unbroken. May run beside a\n"
	"live usherd; it then sees what was durable when it started.\n"
	"\n"
	"  --acks FILE   acknowledgements kept by a client (usher load --ack-file); repeatable;\n"
	"                reads the journal from its beginning. Those of BLOCK, WAIT_LIST\n"
	"                and the like, which name no hold, are counted as unchecked\n"
	"  --from-start  read the journal from its beginning, whatever snapshots there are, and keep\n"
	"                an independent ledger; without, what comes after the newest good snapshot\n"
	"  --archive DIR read segments from this archive that the journal has no more\n"
	"  --json        print one JSON object instead of the table\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 nothing found; 1 something is wrong (it is named); 2 usage.\n"
	"\n"
	"Example: usher verify --acks sale.acks /var/lib/usher\n";

struct verify {
	struct offline offline;
	struct ledger ledger;
	struct ush_journal_report report;
	struct ush_engine_audit audit;
	struct ush_message problem;
	/* The chain after each of the last CHAIN_KEPT blocks, by block. */
	uint8_t (*chain)[USH_CHAIN_BYTES];
	uint64_t chain_first;
	uint64_t chain_next;
	bool from_start;
	const char *archive;
	uint64_t chain_checked;
	uint64_t chain_broken;
	uint64_t chain_lag_max;
	uint64_t by_type[USH_RECORD_TYPE_COUNT];
	uint64_t acks;
	/* Of operations whose record names no request that could be looked up. */
	uint64_t acks_unchecked;
	uint64_t unchecked_by_op[256];
	uint64_t acks_lost;
	uint64_t acks_wrong;
};

static uint8_t *chain_at(struct verify *v, uint64_t block)
{
	return v->chain[block % CHAIN_KEPT];
}

static void watch_block(void *context, const char *segment, uint64_t block,
	const struct ush_block_header *header, const void *data)
{
	struct verify *v = context;
	uint64_t lag = header->chain_lag;

	(void)segment;
	if (v->chain_next == 0) {
		const struct ush_snapshot_point *point = offline_point(&v->offline);

		v->chain_next = v->chain_first = block;
		memset(chain_at(v, block), 0, USH_CHAIN_BYTES);
		if (point != NULL)
			memcpy(chain_at(v, block), point->chain, USH_CHAIN_BYTES);
	}
	/* What the header claims: the chain over all blocks before block - lag. */
	if (lag < CHAIN_KEPT && lag <= block && block - lag >= v->chain_first) {
		v->chain_checked++;
		if (memcmp(chain_at(v, block - lag), header->chain, USH_CHAIN_BYTES) != 0)
			v->chain_broken++;
	}
	v->chain_lag_max = ush_max64(v->chain_lag_max, lag);
	memcpy(chain_at(v, block + 1), chain_at(v, block), USH_CHAIN_BYTES);
	ush_journal_chain_next(chain_at(v, block + 1), data);
	v->chain_next = block + 1;
}

static int apply_run(void *context, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct verify *v = context;

	if (records[0].type < USH_RECORD_TYPE_COUNT)
		v->by_type[records[0].type]++;
	/* A ledger that begins in the middle knows nothing of what it is told. */
	if (offline_point(&v->offline) == NULL && ledger_book(&v->ledger, records, count) != 0) {
		ush_message_set(message, "out of memory");
		return -USH_ENOMEM;
	}
	return ush_engine_apply(v->offline.engine, records, count, message);
}

static int run_replay(struct verify *v)
{
	struct ush_engine_resume resume;
	int error = offline_engine(&v->offline, v->from_start, &v->problem);

	if (error != 0)
		return error;
	ush_journal_watch(v->offline.journal, watch_block, v);
	error = ush_journal_recover_from(v->offline.journal, offline_point(&v->offline), apply_run,
		v, &v->report, &v->problem);
	if (error != 0)
		return error;
	ush_engine_replayed(v->offline.engine, v->report.time_ns, &resume);
	error = ush_engine_audit(v->offline.engine, &v->audit, &v->problem);
	if (error == 0 && offline_point(&v->offline) == NULL &&
		(v->audit.held_seats != v->ledger.seats_held ||
			v->audit.sold_seats != v->ledger.seats_sold)) {
		ush_message_set(&v->problem,
			"engine and ledger disagree: held %" PRIu64 " and %" PRIu64
			", sold %" PRIu64 " and %" PRIu64,
			v->audit.held_seats, v->ledger.seats_held, v->audit.sold_seats,
			v->ledger.seats_sold);
		error = -USH_ECORRUPT;
	}
	if (error == 0 && offline_point(&v->offline) == NULL &&
		(v->audit.held_amount != v->ledger.amount_held ||
			v->audit.sold_amount != v->ledger.amount_sold)) {
		ush_message_set(&v->problem,
			"engine and ledger disagree about amounts: held %" PRIu64 " and %" PRIu64
			", sold %" PRIu64 " and %" PRIu64,
			v->audit.held_amount, v->ledger.amount_held, v->audit.sold_amount,
			v->ledger.amount_sold);
		error = -USH_ECORRUPT;
	}
	if (error == 0 && offline_point(&v->offline) == NULL &&
		v->audit.seat_seconds != v->ledger.seat_seconds) {
		ush_message_set(&v->problem,
			"engine and ledger disagree about the time of holds: %" PRIu64
			" and %" PRIu64 " seat-seconds",
			v->audit.seat_seconds, v->ledger.seat_seconds);
		error = -USH_ECORRUPT;
	}
	return error;
}

/* ret: the record of an acknowledged operation, 0 if it writes none that is checked. */
static uint8_t type_of_op(uint8_t op)
{
	static const uint8_t types[256] = {
		[USH_OP_RESERVE] = USH_RECORD_TYPE_HOLD,
		[USH_OP_RESERVE_BEST] = USH_RECORD_TYPE_HOLD,
		[USH_OP_RESERVE_AREA] = USH_RECORD_TYPE_HOLD,
		[USH_OP_RELEASE] = USH_RECORD_TYPE_RELEASE,
		[USH_OP_EXTEND] = USH_RECORD_TYPE_EXTEND,
		[USH_OP_SWAP] = USH_RECORD_TYPE_SWAP,
		[USH_OP_CONFIRM] = USH_RECORD_TYPE_CONFIRM,
		[USH_OP_PAY_BEGIN] = USH_RECORD_TYPE_PAY_BEGIN,
		[USH_OP_PAY_END] = USH_RECORD_TYPE_PAY_END,
		[USH_OP_PAY_LATE] = USH_RECORD_TYPE_LATE,
		[USH_OP_REFUND_BEGIN] = USH_RECORD_TYPE_REFUND_BEGIN,
		[USH_OP_REFUND_END] = USH_RECORD_TYPE_REFUND_END,
		[USH_OP_TRANSFER] = USH_RECORD_TYPE_TRANSFER,
	};

	return types[op];
}

/* Some of a hold's seats were released, not all. */
static bool is_of_type(const struct ledger_entry *entry, uint8_t type)
{
	return entry->type == type ||
	       (type == USH_RECORD_TYPE_RELEASE && entry->type == USH_RECORD_TYPE_CUT);
}

static bool has_request_id(uint8_t type)
{
	return type == USH_RECORD_TYPE_HOLD || type == USH_RECORD_TYPE_RELEASE ||
	       type == USH_RECORD_TYPE_EXTEND || type == USH_RECORD_TYPE_SWAP;
}

/* The hold has the seats that were asked for: a leg is the request's base leg, and there are as
 * many. */
static bool has_seats(const struct ledger_entry *entry, const struct ush_ack_entry *ack)
{
	if (ack->op != USH_OP_RESERVE)
		return true;
	if (ack->leg_count != entry->legs)
		return false;
	for (uint32_t i = 0; i < entry->legs; i++) {
		if (entry[i].row == ack->row && entry[i].mask == ack->mask)
			return true;
	}
	return false;
}

/* The amount that was acknowledged is what the record says, unless it may have been told again
 * later, of a hold that had changed by then. */
static bool has_amount(
	const struct verify *v, const struct ledger_entry *entry, const struct ush_ack_entry *ack)
{
	switch (ack->op) {
	case USH_OP_PAY_BEGIN:
		return entry->amount == ack->amount;
	case USH_OP_RESERVE:
	case USH_OP_RESERVE_BEST:
	case USH_OP_RESERVE_AREA:
	case USH_OP_SWAP:
	case USH_OP_PAY_LATE:
		return ledger_amount(entry) == ack->amount ||
		       !ledger_is_unchanged(&v->ledger, entry);
	default:
		return true;
	}
}

static void check_ack(struct verify *v, const struct ush_ack_entry *ack)
{
	uint8_t type = type_of_op(ack->op);
	const struct ledger_entry *entry;

	if (ack->status != USH_STATUS_OK)
		return;
	if (type == 0) {
		v->acks_unchecked++;
		v->unchecked_by_op[ack->op]++;
		return;
	}
	v->acks++;
	entry = ledger_find(&v->ledger, ack->sequence);
	if (entry == NULL) {
		v->acks_lost++;
		if (v->problem.text[0] == '\0')
			ush_message_set(&v->problem,
				"acknowledged but not in the journal: op %u user %" PRIu64
				" request %u hold %016" PRIx64 " sequence %" PRIu64,
				ack->op, ack->user, ack->request_id, ack->hold, ack->sequence);
		return;
	}
	if (is_of_type(entry, type) && entry->hold == ack->hold && entry->user == ack->user &&
		entry->event == ack->event &&
		(!has_request_id(type) || entry->request_id == ack->request_id) &&
		has_seats(entry, ack) && has_amount(v, entry, ack))
		return;
	v->acks_wrong++;
	if (v->problem.text[0] == '\0')
		ush_message_set(&v->problem,
			"acknowledged as something else: sequence %" PRIu64 " user %" PRIu64
			" request %u",
			ack->sequence, ack->user, ack->request_id);
}

/* An acknowledgement file, and how many bytes it had before the journal was read: a client may be
 * writing it, and what is acknowledged later may stand later in the journal than was read. */
struct acks {
	const char *path;
	uint64_t bytes;
};

static int measure_acks(struct verify *v, struct acks *acks)
{
	struct stat status;

	if (stat(acks->path, &status) != 0) {
		ush_message_set(
			&v->problem, "acknowledgement file %s: %s", acks->path, strerror(errno));
		return -USH_ENOENT;
	}
	acks->bytes = (uint64_t)status.st_size;
	return 0;
}

static int check_acks(struct verify *v, const struct acks *acks)
{
	static const struct ush_ack_entry first = {.magic = USH_ACK_MAGIC};
	const char *path = acks->path;
	struct ush_ack_entry ack;
	FILE *file = fopen(path, "rb");
	uint64_t left = acks->bytes;
	size_t got = 0;

	if (file == NULL) {
		ush_message_set(&v->problem, "cannot open acknowledgement file %s", path);
		return -USH_ENOENT;
	}
	if (left < sizeof(ack) || fread(&ack, sizeof(ack), 1, file) != 1 ||
		memcmp(&ack, &first, sizeof(ack)) != 0) {
		ush_message_set(&v->problem, "%s is no acknowledgement file", path);
		fclose(file);
		return -USH_EPARSE;
	}
	for (left -= sizeof(ack); left != 0; left -= got) {
		got = fread(&ack, 1, ush_min64(sizeof(ack), left), file);
		if (got != sizeof(ack))
			break;
		if (ack.magic != 0 && v->problem.text[0] == '\0')
			ush_message_set(&v->problem,
				"%s: the entry at byte %" PRIu64
				" is no acknowledgement: the file is damaged, or two were put together",
				path, acks->bytes - left);
		if (ack.magic == 0)
			check_ack(v, &ack);
	}
	fclose(file);
	if (left != 0)
		fprintf(stderr, "usher verify: %s ends with a cut entry, which is ignored\n", path);
	return 0;
}

static bool is_sound(const struct verify *v)
{
	return v->problem.text[0] == '\0' && v->ledger.double_sold == 0 &&
	       v->ledger.contradictions == 0 && v->acks_lost == 0 && v->acks_wrong == 0 &&
	       v->chain_broken == 0;
}

static const char *problem_of(const struct verify *v)
{
	if (v->ledger.first_fault.text[0] != '\0')
		return v->ledger.first_fault.text;
	if (v->problem.text[0] == '\0' && v->chain_broken != 0)
		return "the hash chain is broken: a block was changed after it was written";
	return v->problem.text;
}

static void print_json_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

/* Which operations the unchecked acknowledgements are of. */
static void print_unchecked(const struct verify *v, bool json)
{
	const char *comma = "";

	if (json)
		printf("\"unchecked\":{");
	for (uint32_t op = 0; op < 256; op++) {
		if (v->unchecked_by_op[op] == 0)
			continue;
		if (json)
			printf("%s\"%s\":%" PRIu64, comma, usher_name_op(op),
				v->unchecked_by_op[op]);
		else
			printf("  not checked: %-9s %10" PRIu64 "\n", usher_name_op(op),
				v->unchecked_by_op[op]);
		comma = ",";
	}
	if (json)
		printf("},");
}

static void print_report(const struct verify *v, bool json)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"from_sequence", v->report.from_sequence},
		{"epochs", v->report.epochs},
		{"segments", v->report.segments},
		{"blocks", v->report.blocks},
		{"records", v->report.records},
		{"torn_blocks", v->report.torn_blocks},
		{"clean_shutdown", v->report.clean},
		{"events", v->audit.events},
		{"seats", v->audit.seats},
		{"free", v->audit.free_seats},
		{"house", v->audit.house_seats},
		{"held", v->audit.held_seats},
		{"sold", v->audit.sold_seats},
		{"held_amount", v->audit.held_amount},
		{"sold_amount", v->audit.sold_amount},
		{"seat_seconds", v->audit.seat_seconds},
		{"holds_granted", v->by_type[USH_RECORD_TYPE_HOLD]},
		{"holds_released", v->by_type[USH_RECORD_TYPE_RELEASE]},
		{"holds_expired", v->by_type[USH_RECORD_TYPE_EXPIRE]},
		{"holds_confirmed", v->by_type[USH_RECORD_TYPE_CONFIRM]},
		{"chain_checked", v->chain_checked},
		{"chain_broken", v->chain_broken},
		{"chain_lag_blocks_max", v->chain_lag_max},
		{"acks_checked", v->acks},
		{"acks_unchecked", v->acks_unchecked},
		{"lost", v->acks_lost + v->acks_wrong},
		{"double_sold", v->ledger.double_sold},
		{"contradictions", v->ledger.contradictions},
	};

	if (json)
		printf("{\"from\":\"%s\",", v->report.from_sequence != 0 ? "snapshot" : "start");
	else
		printf("%-22s %12s\n", "from", v->report.from_sequence != 0 ? "snapshot" : "start");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (json)
			printf("\"%s\":%" PRIu64 ",", rows[i].name, rows[i].value);
		else
			printf("%-22s %12" PRIu64 "\n", rows[i].name, rows[i].value);
	}
	print_unchecked(v, json);
	if (json) {
		printf("\"sound\":%s,\"problem\":", is_sound(v) ? "true" : "false");
		print_json_text(problem_of(v));
		printf("}\n");
	} else {
		printf("%-22s %12s\n", "verdict", is_sound(v) ? "sound" : "WRONG");
		if (!is_sound(v))
			printf("  %s\n", problem_of(v));
	}
}

static int verify_all(struct verify *v, const char *state, struct acks *acks, int ack_count)
{
	int error = 0;

	for (int i = 0; i < ack_count && error == 0; i++)
		error = measure_acks(v, &acks[i]);
	if (error == 0)
		error = offline_open(&v->offline, state, v->archive, &v->problem);
	if (error != 0)
		return error;
	v->chain = calloc(CHAIN_KEPT, USH_CHAIN_BYTES);
	if (v->chain == NULL || ledger_open(&v->ledger) != 0) {
		ush_message_set(&v->problem, "out of memory");
		return -USH_ENOMEM;
	}
	error = run_replay(v);
	for (int i = 0; i < ack_count && error == 0; i++)
		error = check_acks(v, &acks[i]);
	return error;
}

int cmd_verify(int argc, char **argv)
{
	static const struct option options[] = {{"acks", required_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'}, {"from-start", no_argument, NULL, 's'},
		{"archive", required_argument, NULL, 'A'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct verify *v = calloc(1, sizeof(*v));
	struct acks *acks = calloc((size_t)argc + 1, sizeof(*acks));
	int ack_count = 0, option, status = USHER_USAGE;
	bool json = false;

	if (argc > 1 && strcmp(argv[1], "draw") == 0) {
		free(v);
		free(acks);
		return verify_draw(argc - 1, argv + 1);
	}
	if (v == NULL || acks == NULL) {
		fputs("usher verify: no memory to begin with\n", stderr);
		status = USHER_FAILED;
		goto done;
	}
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'a') {
			acks[ack_count++].path = optarg;
		} else if (option == 'j') {
			json = true;
		} else if (option == 's') {
			v->from_start = true;
		} else if (option == 'A') {
			v->archive = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			status = option == 'h' ? USHER_OK : USHER_USAGE;
			goto done;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		goto done;
	}
	v->from_start |= ack_count != 0;
	verify_all(v, argv[optind], acks, ack_count);
	print_report(v, json);
	status = is_sound(v) ? USHER_OK : USHER_FAILED;
	offline_close(&v->offline);
	ledger_close(&v->ledger);
	free(v->chain);
done:
	free(acks);
	free(v);
	return status;
}
