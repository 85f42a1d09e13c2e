/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash matrix: one run of 2,000 requests, with a kill and an orderly stop in it, is
 * repeated once for each operation that changes the disk (write, create, put, rename, unlink,
 * register) and each fault. The fault happens in that operation and nowhere else; then the box is
 * started again if it died, and the run goes on to its end.
 *
 * What must hold: nothing acknowledged is lost, nothing is sold twice (tests/crowd.h), a start
 * after an honest fault succeeds, and a start after a silent one is refused with words that name
 * what is bad, wherever that can be known. It cannot be known of a write after which no other was
 * reported done (docs/journal.md, "What it cannot decide"); such runs are counted apart.
 *
 * Failure modes: the journal ends the process when a write fails; here _exit is ours, and brings
 * the run back to where the box is started again.
 *
 * usage: test_crash_matrix [STRIDE]    every STRIDE-th operation (1: the whole matrix)
 *        USH_SEED repeats a run; USH_FAULT=NAME and USH_AT=N run one cell
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/crowd.h"

#define STRIDE_DEFAULT 8u
#define REQUESTS 2000u
#define KILL_AT 200u
#define STOP_AT 400u
/* Few requests a burst, so that there are many writes. */
#define BURST_MAX 2u
#define TAGS 64u

enum fault {
	NO_FAULT,
	/* Honest: it says so, or the power goes with it. */
	REFUSED_AT_ONCE,
	FAILED,
	SHORT,
	TORN,
	LOST_WITH_POWER,
	KEPT_UNKNOWN,
	/* Silent: it is reported done. */
	LIE_LOST,
	LIE_TORN,
	MISPLACED,
	ROTTEN,
	FAULT_COUNT,
};

static const char *const fault_names[FAULT_COUNT] = {
	[NO_FAULT] = "none",
	[REFUSED_AT_ONCE] = "refused",
	[FAILED] = "failed",
	[SHORT] = "short",
	[TORN] = "torn",
	[LOST_WITH_POWER] = "lost",
	[KEPT_UNKNOWN] = "kept",
	[LIE_LOST] = "lie-lost",
	[LIE_TORN] = "lie-torn",
	[MISPLACED] = "misplaced",
	[ROTTEN] = "rotten",
};

/* What stands between the journal and its disk. */
static struct {
	struct ush_disk under;
	struct ush_random random;
	enum fault fault;
	/* Number of the operation that goes wrong, of those that change the disk. */
	uint32_t at;
	uint32_t count;
	/* The fault has happened. */
	bool hit;
	/* ush_journal_finish runs. */
	bool finishing;
	/* It happened to a write, whose bytes on the disk are to be put right at its end. */
	bool open;
	uint64_t tag;
	char name[USH_DISK_NAME_MAX];
	uint64_t offset;
	size_t size;
	uint8_t *before;
	uint8_t *data;
	/* The durable sequence that a write under way carries in its headers, in blocks. */
	uint64_t watermarks[TAGS];
	/* What completed writes know to be durable, and where the bad one ends. */
	uint64_t known;
	uint64_t end;
	char names[TAGS][USH_DISK_NAME_MAX];
} m;

struct cell {
	uint64_t runs;
	uint64_t hit;
	uint64_t died;
	uint64_t refused;
	uint64_t undecidable;
};

static struct cell cells[FAULT_COUNT];
static sigjmp_buf death;
static bool may_die;
static int said_fd = -1, stderr_fd = -1;

/* journal_fail ends the process with 3; the run goes on after it. */
_Noreturn void _exit(int status)
{
	if (may_die && status == 3)
		siglongjmp(death, 1);
	_Exit(status);
}

/* An assertion in the middle of a run: what it said, and which run it was. */
static void on_abort(int number)
{
	char text[512];
	ssize_t size = pread(said_fd, text, sizeof(text), 0);

	(void)number;
	printf("# aborted: USH_FAULT=%s USH_AT=%u: %.*s\n", fault_names[m.fault], m.at,
		(int)(size > 0 ? size : 0), text);
	fflush(stdout);
	_Exit(1);
}

static bool is_silent(enum fault fault)
{
	return fault >= LIE_LOST;
}

/* ---- what goes wrong ---- */

/* ret: true if this operation is the one. */
static bool is_now(void)
{
	return m.count++ == m.at && m.fault != NO_FAULT && !m.hit;
}

static void cut_power(void)
{
	struct ush_disk_done none;

	fake_disk_cut_after(w.fake, 0);
	m.under.reap(m.under.context, &none, 0);
}

/* Some sectors of `from` over `to`, never all and never none where there are two. */
static void mix(uint8_t *to, const uint8_t *from, size_t size)
{
	size_t sectors = size / FAKE_SECTOR, keep = ush_random_below(&m.random, sectors);

	for (size_t i = 0; i < sectors; i++) {
		if (i == keep || ush_random_below(&m.random, 2) == 0)
			memcpy(to + i * FAKE_SECTOR, from + i * FAKE_SECTOR, FAKE_SECTOR);
	}
	keep = (keep + 1 + ush_random_below(&m.random, sectors - 1)) % sectors;
	memset(to + keep * FAKE_SECTOR, 0x5a, FAKE_SECTOR);
}

static void put_part(const char *name, uint64_t size)
{
	char part[USH_DISK_NAME_MAX + 8];

	snprintf(part, sizeof(part), "%.*s.new", (int)USH_DISK_NAME_MAX - 5, name);
	fake_disk_put(w.fake, part, size / 2);
}

/* The end of a create, put, rename, unlink or register that goes wrong. in: run: does it; its
 * arguments in `name`, `size`. ret: what is reported. */
static int other_goes_wrong(const char *name, uint64_t size, bool can_be_partial,
	int (*run)(const void *arguments), const void *arguments)
{
	int error = 0;

	m.hit = true;
	switch (m.fault) {
	case FAILED:
		error = run(arguments);
		return error != 0 ? error : -USH_EIO;
	case SHORT:
		if (can_be_partial)
			put_part(name, size);
		return -USH_ENOSPC;
	case TORN:
		if (can_be_partial)
			put_part(name, size);
		cut_power();
		return -USH_ESYSTEM;
	case LOST_WITH_POWER:
		cut_power();
		return -USH_ESYSTEM;
	case KEPT_UNKNOWN:
		run(arguments);
		cut_power();
		return -USH_ESYSTEM;
	case LIE_LOST:
		return 0;
	case LIE_TORN:
	case MISPLACED:
	case ROTTEN:
		/* Of the small file that a put writes; what is made otherwise is all zero. */
		error = run(arguments);
		if (error == 0 && size != 0 && fake_disk_find(w.fake, name) != NULL)
			fake_disk_find(w.fake, name)->data[ush_random_below(&m.random, size)] ^=
				(uint8_t)(1u << ush_random_below(&m.random, 8));
		return error;
	default:
		return -USH_EIO;
	}
}

struct arguments {
	const char *name;
	const char *to;
	const void *data;
	uint64_t size;
};

static int run_create(const void *context)
{
	const struct arguments *a = context;

	return m.under.create(m.under.context, a->name, a->size);
}

static int meddle_create(void *context, const char *name, uint64_t bytes)
{
	struct arguments a = {.name = name, .size = bytes};

	(void)context;
	if (!is_now() || m.fault > LIE_LOST)
		return run_create(&a);
	return other_goes_wrong(name, bytes, true, run_create, &a);
}

static int run_put(const void *context)
{
	const struct arguments *a = context;

	return m.under.put(m.under.context, a->name, a->data, (size_t)a->size);
}

static int meddle_put(void *context, const char *name, const void *data, size_t size)
{
	struct arguments a = {.name = name, .data = data, .size = size};

	(void)context;
	return is_now() ? other_goes_wrong(name, size, true, run_put, &a) : run_put(&a);
}

static int run_rename(const void *context)
{
	const struct arguments *a = context;

	return m.under.rename(m.under.context, a->name, a->to);
}

static int meddle_rename(void *context, const char *from, const char *to)
{
	struct arguments a = {.name = from, .to = to};

	(void)context;
	return is_now() ? other_goes_wrong(from, 0, false, run_rename, &a) : run_rename(&a);
}

static int run_unlink(const void *context)
{
	const struct arguments *a = context;

	return m.under.unlink(m.under.context, a->name);
}

static int meddle_unlink(void *context, const char *name)
{
	struct arguments a = {.name = name};

	(void)context;
	return is_now() ? other_goes_wrong(name, 0, false, run_unlink, &a) : run_unlink(&a);
}

static int meddle_register(void *context, void *data, size_t size)
{
	(void)context;
	if (is_now() && !is_silent(m.fault)) {
		m.hit = true;
		return -USH_ENOMEM;
	}
	return m.under.register_buffer(m.under.context, data, size);
}

static int meddle_open(void *context, const char *name, bool write)
{
	int file = m.under.open(m.under.context, name, write);

	(void)context;
	if (file >= 0)
		snprintf(m.names[file], sizeof(m.names[file]), "%s", name);
	return file;
}

/* ---- a write that goes wrong ---- */

static uint8_t *spot(uint64_t offset)
{
	struct fake_file *file = fake_disk_find(w.fake, m.name);

	USH_ASSERT(file != NULL && offset + m.size <= file->size);
	return file->data + offset;
}

static void remember(int file, const void *data, size_t size, uint64_t offset, uint64_t tag)
{
	uint64_t sequence;

	m.open = true;
	m.tag = tag;
	m.offset = offset;
	m.size = size;
	memcpy(m.name, m.names[file], sizeof(m.name));
	m.before = malloc(size);
	m.data = malloc(size);
	USH_ASSERT(m.before != NULL && m.data != NULL);
	memcpy(m.data, data, size);
	memcpy(m.before, spot(offset), size);
	memcpy(&sequence, m.data + offsetof(struct ush_block_header, sequence), sizeof(sequence));
	m.end = (sequence / USH_BLOCK_SLOTS) + size / USH_BLOCK_BYTES;
}

static int meddle_write(
	void *context, int file, const void *data, size_t size, uint64_t offset, uint64_t tag)
{
	int error;

	(void)context;
	m.watermarks[tag % TAGS] = ush_log_durable(ush_engine_log(w.h.engine)) / USH_BLOCK_SLOTS;
	if (!is_now())
		return m.under.write(m.under.context, file, data, size, offset, tag);
	m.hit = true;
	if (m.fault == REFUSED_AT_ONCE)
		return -USH_EIO;
	remember(file, data, size, offset, tag);
	error = m.under.write(m.under.context, file, data, size, offset, tag);
	if (m.fault == TORN || m.fault == LOST_WITH_POWER || m.fault == KEPT_UNKNOWN)
		cut_power();
	return error;
}

/* What the disk has of the write, once that is decided. ret: what is reported of it. */
static int64_t settle_write(void)
{
	uint8_t *there = spot(m.offset);
	size_t half = m.size / 2;

	m.open = false;
	memcpy(there, m.before, m.size);
	switch (m.fault) {
	case FAILED:
		mix(there, m.data, m.size);
		return -USH_EIO;
	case SHORT:
		memcpy(there, m.data, half);
		return (int64_t)half;
	case TORN:
	case LIE_TORN:
		mix(there, m.data, m.size);
		break;
	case MISPLACED:
		/* Over earlier blocks, if there are any. */
		if (m.offset >= m.size)
			memcpy(spot(ush_random_below(&m.random, m.offset / m.size) * m.size),
				m.data, m.size);
		break;
	case ROTTEN:
		memcpy(there, m.data, m.size);
		there[ush_random_below(&m.random, m.size)] ^=
			(uint8_t)(1u << ush_random_below(&m.random, 8));
		break;
	case KEPT_UNKNOWN:
		memcpy(there, m.data, m.size);
		break;
	default:
		break;
	}
	return (int64_t)m.size;
}

static int meddle_reap(void *context, struct ush_disk_done *done, uint32_t max)
{
	int count = m.under.reap(m.under.context, done, max);

	(void)context;
	/* Nothing comes back any more, and an orderly end would wait for it. */
	if (m.finishing && fake_disk_is_cut(w.fake))
		siglongjmp(death, 1);
	for (int i = 0; i < count; i++) {
		if (m.open && done[i].tag == m.tag)
			done[i].result = settle_write();
		else
			m.known = ush_max64(m.known, m.watermarks[done[i].tag % TAGS]);
	}
	return count;
}

/* Between the journal and the disk of the world at hand. */
static void meddle(uint64_t seed, enum fault fault, uint32_t at)
{
	memset(&m, 0, sizeof(m));
	ush_random_init(&m.random, seed + at);
	m.fault = fault;
	m.at = at;
	m.under = w.disk;
	w.disk.create = meddle_create;
	w.disk.put = meddle_put;
	w.disk.rename = meddle_rename;
	w.disk.unlink = meddle_unlink;
	w.disk.register_buffer = meddle_register;
	w.disk.open = meddle_open;
	w.disk.write = meddle_write;
	w.disk.reap = meddle_reap;
}

/* ---- a run ---- */

/* The box is gone, and with the power what was under way. */
static void down(void)
{
	may_die = false;
	crowd_stop();
	if (m.open && fake_disk_find(w.fake, m.name) != NULL &&
		(m.fault == TORN || m.fault == LOST_WITH_POWER || m.fault == KEPT_UNKNOWN))
		settle_write();
	m.open = false;
}

enum end {
	AS_PLANNED,
	DIED,
	REFUSED_START,
	UNDECIDABLE,
};

/* The words of a refusal say where to look. */
static void check_words(void)
{
	const char *text = w.why.text;
	bool named = strstr(text, "segment") != NULL || strstr(text, "box file") != NULL;

	if (!named || strstr(text, "/fake") == NULL)
		printf("# the refusal names nothing: %s\n", text);
	CHECK(named && strstr(text, "/fake") != NULL);
}

static enum end start_box(void)
{
	bool hit_before = m.hit;
	bool bad_write = m.hit && is_silent(m.fault) && m.size != 0;

	/* Nothing on the disk says that it was ever there: see docs/journal.md. */
	if (bad_write && m.known < m.end)
		return UNDECIDABLE;
	if (crowd_start() == 0) {
		CHECK(!bad_write);
		return AS_PLANNED;
	}
	if (!hit_before && m.hit)
		return DIED;
	if (!m.hit || !is_silent(m.fault))
		printf("# start: %s\n", w.why.text);
	CHECK(m.hit && is_silent(m.fault));
	check_words();
	return REFUSED_START;
}

static enum end up(void)
{
	enum end end;

	if (sigsetjmp(death, 1) != 0) {
		may_die = false;
		return DIED;
	}
	may_die = true;
	end = start_box();
	may_die = false;
	return end;
}

/* Serves until `target` requests were sent, and ends with CLOSE if it is to. */
static enum end serve_to(uint32_t target, bool orderly)
{
	if (sigsetjmp(death, 1) != 0) {
		may_die = m.finishing = false;
		return DIED;
	}
	may_die = true;
	while (w.sent < target && !fake_disk_is_cut(w.fake) && tap_failures_here == 0)
		crowd_serve(1);
	if (orderly && !fake_disk_is_cut(w.fake)) {
		bool answered = crowd_settle();

		m.finishing = true;
		if (answered && !fake_disk_is_cut(w.fake))
			w.clean_asked = ush_journal_finish(w.journal, w.now_ns);
		m.finishing = false;
		/* Without a next segment it goes on when there is one: at the latest after this. */
		CHECK(answered || m.hit);
	}
	may_die = false;
	return fake_disk_is_cut(w.fake) ? DIED : AS_PLANNED;
}

/* From a start to the planned end of this life, with the starts that the fault makes needed. */
static enum end live(uint32_t target, bool orderly, struct cell *cell)
{
	for (int starts = 0; starts < 3; starts++) {
		enum end end = up();

		w.clean_asked = false;
		if (end == AS_PLANNED)
			end = serve_to(target, orderly);
		down();
		if (end != DIED)
			return end;
		CHECK(m.hit);
		cell->died++;
	}
	CHECK(false);
	return DIED;
}

/* ret: operations that changed the disk. */
static uint32_t run(uint64_t seed, enum fault fault, uint32_t at)
{
	static const struct {
		uint32_t target;
		bool orderly;
	} lives[] = {{KILL_AT, false}, {STOP_AT, true}, {REQUESTS, true}, {REQUESTS, false}};
	struct cell *cell = &cells[fault];
	enum end end = AS_PLANNED;

	crowd_make(seed);
	w.burst_max = BURST_MAX;
	fake_disk_order(w.fake, FAKE_ANY_ORDER);
	meddle(seed, fault, at);
	for (size_t i = 0; i < 4 && end == AS_PLANNED && tap_failures_here == 0; i++)
		end = live(lives[i].target, lives[i].orderly, cell);
	cell->runs++;
	cell->hit += m.hit;
	cell->refused += end == REFUSED_START;
	cell->undecidable += end == UNDECIDABLE;
	if (tap_failures_here != 0)
		printf("# repeat with USH_SEED=%" PRIu64 " USH_FAULT=%s USH_AT=%u\n", seed,
			fault_names[fault], at);
	free(m.before);
	free(m.data);
	crowd_free();
	if (ftruncate(said_fd, 0) != 0 || lseek(said_fd, 0, SEEK_SET) != 0)
		tap_failures_here++;
	return m.count;
}

/* ---- the matrix ---- */

static uint64_t seed;
static uint32_t stride = STRIDE_DEFAULT;
static uint32_t operations;

static void row_of(enum fault fault)
{
	for (uint32_t at = fault % stride; at < operations && tap_failures_here == 0; at += stride)
		run(seed, fault, at);
	printf("# %-10s %6" PRIu64 " runs, %6" PRIu64 " hit, %6" PRIu64 " deaths, %6" PRIu64
	       " starts refused, %4" PRIu64 " undecidable\n",
		fault_names[fault], cells[fault].runs, cells[fault].hit, cells[fault].died,
		cells[fault].refused, cells[fault].undecidable);
	fflush(stdout);
}

static void test_run_without_fault_ends_as_planned(void)
{
	operations = run(seed, NO_FAULT, 0);
	printf("# %u operations that change the disk, %" PRIu64 " holds acknowledged, %" PRIu64
	       " sold, %u requests\n",
		operations, sums.granted, sums.sold, w.sent);
	CHECK(operations > 300);
	CHECK_EQ(cells[NO_FAULT].died + cells[NO_FAULT].refused, 0);
}

static void test_honest_faults_lose_and_double_nothing(void)
{
	for (enum fault fault = REFUSED_AT_ONCE; fault < LIE_LOST; fault++) {
		row_of(fault);
		CHECK(cells[fault].died != 0);
		CHECK_EQ(cells[fault].refused, 0);
	}
}

static void test_silent_faults_are_named_or_undecidable(void)
{
	for (enum fault fault = LIE_LOST; fault < FAULT_COUNT; fault++) {
		row_of(fault);
		CHECK(cells[fault].refused != 0);
		CHECK(cells[fault].undecidable < cells[fault].runs / 4 + 1);
	}
}

static void test_one_cell(void)
{
	const char *name = getenv("USH_FAULT"), *at = getenv("USH_AT");

	for (enum fault fault = NO_FAULT; fault < FAULT_COUNT; fault++) {
		if (strcmp(name, fault_names[fault]) == 0)
			run(seed, fault, at != NULL ? (uint32_t)strtoul(at, NULL, 0) : 0);
	}
	printf("# last refusal: %s\n", w.why.text);
}

static void total(void)
{
	struct cell sum = {0};

	for (enum fault fault = REFUSED_AT_ONCE; fault < FAULT_COUNT; fault++) {
		sum.runs += cells[fault].runs;
		sum.hit += cells[fault].hit;
		sum.undecidable += cells[fault].undecidable;
	}
	printf("# {\"runs\":%" PRIu64 ",\"hit\":%" PRIu64 ",\"undecidable\":%" PRIu64
	       ",\"violations\":%d}\n",
		sum.runs, sum.hit, sum.undecidable, tap_failed);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		stride = (uint32_t)strtoul(argv[1], NULL, 0);
	if (stride == 0)
		stride = STRIDE_DEFAULT;
	seed = tap_seed(1);
	fflush(stdout);
	said_fd = memfd_create("said", 0);
	stderr_fd = dup(STDERR_FILENO);
	if (said_fd < 0 || stderr_fd < 0 || dup2(said_fd, STDERR_FILENO) < 0)
		return 1;
	signal(SIGABRT, on_abort);
	if (getenv("USH_FAULT") != NULL) {
		TAP_RUN(test_one_cell);
		return tap_end();
	}
	TAP_RUN(test_run_without_fault_ends_as_planned);
	TAP_RUN(test_honest_faults_lose_and_double_nothing);
	TAP_RUN(test_silent_faults_are_named_or_undecidable);
	total();
	return tap_end();
}
