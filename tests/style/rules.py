# SPDX-License-Identifier: Apache-2.0
"""The rules of style as data. test_style.py runs them.

Every rule has a bad example, which the test proves is caught, and a good one, which it proves is
not. An exception names its file and its reason; one that nothing needs any more is a failure.
"""

# ---------------------------------------------------------------------------------------------
# Which module may include which. A module is a folder; "a/b.h" grants that one header only.

STAGE = ("base", "wire")
CORE = ("daemon/core.h", "db/db.h", "http/server.h", "people/people.h", *STAGE)
INCLUDES = {
    "dataplane/base": ("base",),
    "dataplane/wire": (),
    "dataplane/parse": ("parse", *STAGE),
    "dataplane/admit": ("admit", *STAGE),
    "dataplane/claim": ("claim", *STAGE),
    "dataplane/hold": ("hold", *STAGE),
    "dataplane/user": ("user", *STAGE),
    "dataplane/wait": ("wait", *STAGE),
    "dataplane/room": ("room/room.h", "room/draw.h", "room/pace.h", "room/ticket.h", "room/queue.h", *STAGE),
    "dataplane/log": ("log", *STAGE),
    "dataplane/ack": ("ack", "base"),
    # What a record means needs the structures that records change.
    "dataplane/apply": ("apply", "claim", "hold", "user", "wait", "room/queue.h", "room/room.h",
                        "admit/device.h", *STAGE),
    # The only place that knows all stages.
    "dataplane/loop": (
        "loop", "ack", "admit", "apply", "claim", "hold", "log", "parse", "user", "wait", "room",
        *STAGE),
    # DPDK and system calls: sees the loop from outside, and no stage but parse (addresses) and the
    # checks of admit, for what it answers itself.
    "dataplane/port": (
        "port", "loop", "parse", "admit/admit.h", "admit/contract.h", "hw/sim/filter.h", "journal/journal.h",
        "journal/snapshot.h", "admission/admission_file.h", "room/merkle.h", *STAGE),
    "control/admission": ("admission", "admit/contract.h", *STAGE),
    "control/journal": ("journal", "log", *STAGE),
    # The control plane's modules meet in daemon/; what they share is CORE.
    "control/db": ("db", *STAGE),
    "control/link": ("link", *STAGE),
    "control/fetch": ("fetch", *STAGE),
    "control/http": ("http", "db/db.h", "daemon/core.h", *STAGE),
    "control/catalogue": ("catalogue", "link/link.h", *CORE),
    "control/orders": ("orders", "link/link.h", "journal/follow.h", "journal/disk.h", "journal/journal.h",
                       "journal/position.h", "catalogue/venue.h", "catalogue/catalogue.h", *CORE),
    "control/payments": ("payments", "link/link.h", "fetch/fetch.h", "orders/orders.h", "catalogue/catalogue.h", *CORE),
    "control/people": ("people", "fetch/fetch.h", "mail/mail.h", "http/idempotency.h", *CORE),
    "control/entry": ("entry", "link/link.h", "fetch/fetch.h", "room/ticket.h", "room/draw_file.h", "room/room_view.h",
                      "room/draw.h", "room/merkle.h", *CORE),
    "control/tickets": ("tickets", "orders/orders.h", "catalogue/catalogue.h", "catalogue/venue.h", "mail/mail.h", *CORE),
    "control/sender": ("sender", *CORE),
    "control/mail": ("mail", "fetch/fetch.h", "sender/sender.h", *CORE),
    "control/hooks": ("hooks", "fetch/fetch.h", "orders/orders.h", "sender/sender.h", *CORE),
    "control/daemon": ("daemon", "db", "link", "fetch", "http", "catalogue", "orders", "payments", "people", "entry",
                       "tickets", "mail", "hooks", "sender/sender.h", *STAGE),
    "control/room": ("room/draw_file.h", "room/merkle.h", "room/draw.h", "room/room_view.h", *STAGE),
    "tools": ("tools", "loop/loop.h", "journal/journal.h", "journal/disk.h", "journal/follow.h",
              "journal/archive.h", "journal/position.h", "journal/recycle.h", "journal/snapshot.h", "catalogue/venue.h", "tickets/gate.h", "room/draw.h", "room/draw_file.h",
              "room/merkle.h", "room/room_view.h",
              "admission/admission_file.h", "admit/contract.h", "admit/golden.h", "port/image.h",
              *STAGE),
}
# Folders whose files may include anything: they test it.
INCLUDES_ANY = ("tests", "sim", "hw")
# Headers that stay inside their folder, whatever the table above says.
PRIVATE_HEADERS = (
    "dataplane/loop/internal.h", "dataplane/apply/internal.h", "control/journal/internal.h",
    "control/journal/archive_internal.h", "control/db/internal.h", "control/catalogue/internal.h",
    "control/http/internal.h", "control/http/problem.h", "control/daemon/modules.h", "control/daemon/settings.h",
    "control/catalogue/venue_read.h", "control/catalogue/venue_model.h",
    "dataplane/port/control_internal.h", "dataplane/port/config_key.h")
# Tests of those folders may look inside.
PRIVATE_HEADERS_FOR = ("tests/", "sim/")

# System headers that the stages, the loop and apply may include: none of them does I/O.
PATH_MODULES = ("base", "wire", "parse", "admit", "claim", "hold", "user", "room", "wait", "log", "ack", "apply",
                "loop")
PATH_SYSTEM = ("assert.h", "inttypes.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h",
               "string.h")
PATH_SYSTEM_EXCEPTIONS = {
    ("dataplane/base/base.c", "errno.h"): "translates errno for everybody",
    ("dataplane/base/base.c", "stdarg.h"): "formats messages",
    ("dataplane/base/base.c", "stdio.h"): "prints a broken assertion",
    ("dataplane/base/base.c", "stdlib.h"): "aborts after it",
    ("dataplane/base/base.h", "nmmintrin.h"): "CRC-32C in hardware",
    ("dataplane/loop/audit.c", "stdlib.h"): "the audit runs while no loop does, and allocates",
}
# Libraries and the only files that may know them.
LIBRARY_HEADERS = {
    r"rte_.*": ("dataplane/port/", "tools/load_dpdk.c", "tests/bench/",
        "tests/unit/test_port.c"),
    r"liburing\.h": ("control/journal/disk_uring.c",),
    r"openssl/.*": ("control/journal/chain.c", "control/room/merkle.c", "control/http/", "control/payments/",
                    "control/people/", "control/entry/", "control/tickets/", "control/hooks/", "control/catalogue/",
                    "control/sender/",
                    "control/orders/", "sim/sandbox/", "tests/"),
    r"jansson\.h": ("control/", "sim/sandbox/", "tests/", "tools/"),
    r"event2/.*": ("control/http/", "control/db/", "control/link/", "control/fetch/", "control/daemon/",
                   "control/orders/", "control/payments/", "control/people/", "control/entry/", "control/mail/",
                   "control/sender/", "control/tickets/", "control/catalogue/", "sim/sandbox/", "tests/"),
    r"sqlite3\.h": ("control/db/", "sim/sandbox/"),
    r"libpq-fe\.h": ("control/db/",),
    # Beside the event loop, and in a tool that waits for one answer.
    r"curl/.*": ("control/fetch/", "tools/cmd_reconcile.c"),
    r"qrencode\.h": ("control/tickets/",),
    r"seccomp\.h": ("control/daemon/",),
    r"zstd\.h": ("control/journal/archive_zstd.c",),
    r"zlib\.h": ("control/http/gzip.c", "control/tickets/", "tests/"),
    r"ini\.h": ("dataplane/port/config.c", "control/daemon/settings.c"),
}

# ---------------------------------------------------------------------------------------------
# Banned words. `where` and `but` are prefixes of paths; the pattern is looked for in code, with
# comments and the contents of strings taken out.

C = (".c", ".h")
PATH_FOLDERS = tuple("dataplane/%s/" % name for name in PATH_MODULES)
CODE = ("dataplane/", "control/", "tools/", "tests/", "sim/")


class Banned:
    def __init__(self, name, pattern, instead, bad, where=CODE, but=(), exceptions=None,
                 good="int ordinary;", at=None, endings=C, raw=False):
        self.name = name
        self.pattern = pattern
        self.instead = instead
        self.bad = bad
        self.good = good
        self.where = where
        self.but = but
        self.exceptions = exceptions or {}
        # Where the examples pretend to stand.
        self.at = at or where[0] + "example.c"
        self.endings = endings
        # Look in comments and strings too.
        self.raw = raw


BANNED = (
    Banned(
        "no DPDK outside the ports", r"\brte_\w+",
        "hand it in from dataplane/port: memory, time, packets",
        "uint64_t t = rte_rdtsc();",
        but=("dataplane/port/", "tools/load_dpdk", "tests/bench/", "tests/unit/test_port.c",
             "tests/crash/fail_memory.c"),
        at="dataplane/loop/example.c", good="/* rte_mbuf */ struct rtex x;"),
    Banned(
        "no clock inside logic",
        r"\b(clock_gettime|gettimeofday|ftime)\b|(?<![\w>.])time\s*\(",
        "take now_ns as the last argument",
        "now = time(NULL);",
        # The driver of the simulation counts real seconds; what it drives has none.
        but=("dataplane/port/", "tools/", "tests/", "sim/main.c", "sim/sandbox/clock.c",
             "control/daemon/core.c"),
        at="control/journal/example.c", good="uint64_t run_time(uint64_t now_ns);"),
    Banned(
        "no allocation on the packet path",
        r"(?<![\w>.])(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|alloca|strdup)\s*\(",
        "carve it from the engine's memory in init, by a limit",
        "free(line);",
        where=PATH_FOLDERS,
        exceptions={"dataplane/loop/audit.c": "runs while no loop does"},
        at="dataplane/hold/example.c", good="x = atomic_load(&row->free); pool->free(x);"),
    Banned(
        "no output from the packet path",
        r"(?<![\w>.])(printf|fprintf|vfprintf|dprintf|puts|fputs|putchar|perror|syslog|write)\s*\(",
        "return an error with ush_message_set, or count it",
        'fprintf(stderr, "full");',
        where=PATH_FOLDERS,
        exceptions={"dataplane/base/base.c": "a broken assertion says where"},
        at="dataplane/claim/example.c", good="ush_message_set(message, \"printf(%u)\", n);"),
    Banned(
        "no lock or wait on the packet path",
        r"\b(pthread_\w+|mtx_\w+|sem_wait|futex|sched_yield|nanosleep|usleep|sleep)\b",
        "try once, then answer RETRY or leave it for the next turn",
        "pthread_mutex_lock(&line->mutex);",
        where=PATH_FOLDERS, at="dataplane/user/example.c", good="asleep = 1;"),
    Banned(
        "what is skipped is counted", r"""print\(f?["']#\s*SKIP""",
        "Tap.skip(name, why), or raise Tap.Skip: a comment is no skip, the sum would say 0",
        'print(f"# SKIP {why}")',
        where=("tests/",), at="tests/system/example.py", good='tap.skip("PostgreSQL", why)',
        endings=(".py",), raw=True, but=("tests/style/",)),
    Banned(
        "errno goes no further than the call", r"\b(rte_)?errno\b",
        "translate with ush_error_from_errno where the call is made",
        "return -errno;",
        where=PATH_FOLDERS,
        exceptions={"dataplane/base/base.c": "translates it for everybody"},
        at="dataplane/loop/example.c", good="ush_error_from_errno(value);"),
    Banned(
        "chance is a seed",
        r"(?<![\w.>])(rand|random|srand|srandom|rand_r|drand48|lrand48|arc4random\w*|getrandom"
        r"|getentropy)\s*\(",
        "ush_random_next with a seed handed in",
        "seat = rand() % 64;",
        exceptions={"control/journal/box.c": "makes the box id and the key of hold ids once",
                    "tools/cmd_room.c": "makes the seed of a draw, which nobody may choose"},
        but=("dataplane/port/",),
        at="tests/unit/example.c", good="ush_random_next(&random);"),
    Banned(
        "no volatile", r"\bvolatile\b",
        "a C11 atomic, with its ordering explained",
        "static volatile int stop;", good="static _Atomic int stop;"),
    Banned(
        "no floating point in the engine", r"\b(float|double)\b",
        "integers with a unit: ns, parts per million, minor units",
        "double rate;",
        where=PATH_FOLDERS, at="dataplane/base/example.c", good="uint64_t double_sold;"),
    Banned(
        "no string function without a bound",
        r"(?<!\w)(strcpy|strcat|sprintf|vsprintf|gets|stpcpy)\s*\(",
        "snprintf or memcpy with a size",
        "strcpy(name, text);", good="snprintf(name, sizeof(name), \"%s\", text);"),
    Banned(
        "no number read without a check", r"(?<!\w)(atoi|atol|atoll|atof)\s*\(",
        "strtoul, its end pointer and a range",
        "n = atoi(text);", good="n = strtoul(text, &end, 10);"),
    Banned(
        "assertions stay on", r"(?<!\w)assert\s*\(",
        "USH_ASSERT, or static_assert",
        "assert(count > 0);", good="static_assert(sizeof(int) == 4, \"int\");"),
    Banned(
        "no typedef for structures", r"\btypedef\s+(struct|union|enum)\b",
        "write `struct ush_noun` where it is used",
        "typedef struct { int v; } seat;", good="typedef int ush_find(void *context);"),
    Banned(
        "no variable-length arrays by the back door", r"\b(alloca|__builtin_alloca)\b",
        "a constant bound",
        "p = alloca(n);", good="char p[64];"),
    Banned(
        "nothing left to do in the source", r"\b(TODO|FIXME|XXX|HACK)\b",
        "do it, or open an issue and say what holds now",
        "/* FIX" "ME: races */", raw=True,
        endings=(".c", ".h", ".py", ".sh", ".toml", ".build", ".md", ".in", ".lua", ".sv", ""),
        where=("dataplane/", "control/", "tools/", "tests/", "scripts/", "hw/", "docs/", "sim/"),
        but=("tests/style/rules.py",),
        good="char name[] = \"/tmp/usher-XXXXXX\";"),
    Banned(
        "no assertion switched off", r"^\s*(//|/\*)\s*(USH_ASSERT|USH_CHECK|CHECK|assert)\b.*;",
        "delete the test or mend it",
        "\t/* USH_ASSERT(count > 0); */", raw=True,
        good="\t/* CHECK prints both sides. */"),
)

# ---------------------------------------------------------------------------------------------
# Sizes and heads of files.

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
# Written by a program: only what their generator promises holds for them.
GENERATED = ("dataplane/wire/wire.h", "tests/vectors/wire_vectors.h")
FILE_LINES_EXCEPTIONS = {
    "tests/unit/test_parse.c": "one frame builder serves all its tests",
    "tests/unit/test_snapshot.c": "one game plays every kind of record for all its tests",
}
SPDX = "SPDX-License-Identifier: Apache-2.0"
HEADER_LINES = ("Owns:", "Reads:", "Never:")
HEADER_FOLDERS = ("dataplane/", "control/", "tools/")

# Pages from which every page must be reachable in one step.
DOC_ROOTS = ("README.md", "docs/ARCHITECTURE.md", "docs/HACKING.md")
# What is read as text.
TEXT_ENDINGS = (".c", ".h", ".py", ".sh", ".md", ".toml", ".build", ".txt", ".in", ".lua", ".sv",
                ".json", ".ini", ".yml", "")

# ---------------------------------------------------------------------------------------------
# Division. A 64-bit division takes tens of cycles, so the packet path has none. Looked for in the
# built libraries, where constants have become multiplications already.

DIVISION_ALLOWED = {
    # apply.c: replay and audits only. The compiler may put the helpers into ush_apply.
    "ush_apply": "replay",
    "remember": "replay",
    "apply_hold": "replay",
    "apply_end": "replay",
    # state.c: at start only.
    "ush_engine_load": "replay",
    "load_entries": "replay",
    "load_user": "replay",
    "load_answer": "replay",
    # hold.c, user.c: before the loops run.
    "ush_holds_replayed": "after replay",
    "deal_free_lists": "after replay",
    "replayed_line": "after replay",
    "ush_users_init": "init",
    # pace.c: once a period.
    "ush_pace_init": "init",
    "ush_pace_step": "once a period",
    # room_step.c: once a period, on the housekeeping thread.
    "ush_engine_rooms_step": "once a period",
    "step": "once a period",
    "measure_load": "once a period",
}
