/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-sim: runs seeded schedules in worker processes and says what the checkers found.
 *
 * A worker writes the seed it is at into shared memory first, so that a crash of the code under
 * test has a seed. The first violation ends all. Exit status: 0 nothing found, 1 usage, 10 the code
 * under test crashed or broke an assertion, 20 a safety checker, 30 liveness.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define JOBS_MAX 64u
#define SEEDS_MAX 4096u
#define PROGRESS_S 10u
/* A worker that does nothing for so long of its own processor's time hangs, and is ended; one that
 * gets none, or waits for what nobody does, after so much time. */
#define HANG_S 30u
#define STUCK_S 1200u

enum exit_status {
	EXIT_FINE = 0,
	EXIT_USAGE = 1,
	EXIT_CRASH = 10,
	EXIT_SAFETY = 20,
	EXIT_LIVENESS = 30,
};

struct job {
	uint64_t seed;
	uint32_t steps;
	bool liveness;
};

/* One worker's, in shared memory. */
struct worker {
	struct sim_totals totals;
	struct job job;
	uint64_t hash;
	uint32_t step;
	int status;
	char checker[24];
	char what[400];
	char config[1024];
};

struct shared {
	_Atomic bool stop;
	struct worker worker[JOBS_MAX];
};

static struct {
	uint64_t seed;
	uint64_t runs;
	uint32_t steps;
	uint32_t seconds;
	uint32_t jobs;
	bool liveness;
	bool trace;
	bool json;
	struct job first[SEEDS_MAX];
	uint32_t first_count;
} o = {.seed = 1, .jobs = 1};

static struct shared *shared;
static struct sim sim;

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

/* ---- a worker ---- */

static bool run_one(struct worker *worker, const struct job *job)
{
	FILE *config;
	bool good;

	worker->job = *job;
	good = sim_run(&sim, job->seed, job->steps, job->liveness);
	worker->hash += sim.hash;
	if (good)
		return true;
	worker->step = sim.step;
	worker->status = sim.failed_live ? EXIT_LIVENESS : EXIT_SAFETY;
	memcpy(worker->checker, sim.checker, sizeof(worker->checker));
	memcpy(worker->what, sim.what, sizeof(worker->what));
	config = fmemopen(worker->config, sizeof(worker->config), "w");
	if (config != NULL) {
		sim_print_config(&sim, config);
		fclose(config);
	}
	return false;
}

/* Every jobs-th run from `index` on. */
static int work(uint32_t index, uint64_t end_s)
{
	struct worker *worker = &shared->worker[index];

	sim_init(&sim, &worker->totals);
	sim.trace = o.trace;
	for (uint64_t i = index; i < o.first_count + o.runs; i += o.jobs) {
		struct job job = {o.seed + i - o.first_count, o.steps, o.liveness};

		if (i < o.first_count)
			job = o.first[i];
		if (atomic_load_explicit(&shared->stop, memory_order_relaxed) ||
			(end_s != 0 && i >= o.first_count && now_s() >= end_s))
			break;
		if (!run_one(worker, &job))
			return worker->status;
	}
	return EXIT_FINE;
}

/* ---- what is said ---- */

static void print_repeat(const struct job *job)
{
	fprintf(stderr, "repeat: usher-sim --seed %" PRIu64 " --runs 1", job->seed);
	if (job->steps != 0)
		fprintf(stderr, " --steps %u", job->steps);
	fprintf(stderr, "%s --trace\n", job->liveness ? " --liveness" : "");
}

static void print_violation(const struct worker *worker)
{
	fprintf(stderr, "violation: checker %s, seed %" PRIu64 ", step %u: %s\n", worker->checker,
		worker->job.seed, worker->step, worker->what);
	fprintf(stderr, "%s", worker->config);
	print_repeat(&worker->job);
}

static void sum_up(struct sim_totals *sum, uint64_t *hash)
{
	*sum = (struct sim_totals){0};
	*hash = 0;
	for (uint32_t i = 0; i < o.jobs; i++) {
		const struct sim_totals *from = &shared->worker[i].totals;
#define X(name) sum->name += __atomic_load_n(&from->name, __ATOMIC_RELAXED);
		SIM_TOTALS_EACH(X)
#undef X
		*hash += shared->worker[i].hash;
	}
}

static void print_json(uint32_t violations, uint64_t seconds)
{
	struct sim_totals sum;
	uint64_t hash;

	sum_up(&sum, &hash);
	printf("{");
#define X(name) printf("\"%s\": %" PRIu64 ", ", #name, sum.name);
	SIM_TOTALS_EACH(X)
#undef X
	printf("\"seed\": %" PRIu64 ", \"seconds\": %" PRIu64 ", \"hash\": \"%016" PRIx64
	       "\", \"violations\": %u}\n",
		o.seed, seconds, hash, violations);
	fflush(stdout);
}

static void print_progress(uint64_t seconds)
{
	struct sim_totals sum;
	uint64_t hash;

	sum_up(&sum, &hash);
	fprintf(stderr,
		"%" PRIu64 " s: %" PRIu64 " schedules, %" PRIu64 " steps, %" PRIu64
		" crashes, %" PRIu64 " requests\n",
		seconds, sum.schedules, sum.steps, sum.crashes + sum.power_cuts, sum.requests);
}

/* ---- all of them ---- */

/* ret: what a worker that ended means for the exit status. */
static int judge_end(const struct worker *worker, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FINE)
		return EXIT_FINE;
	atomic_store(&shared->stop, true);
	if (WIFEXITED(status) && WEXITSTATUS(status) == worker->status) {
		print_violation(worker);
		return worker->status;
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "crash: seed %" PRIu64 ": signal %d\n", worker->job.seed,
			WTERMSIG(status));
	else
		fprintf(stderr, "crash: seed %" PRIu64 ": exit status %d\n", worker->job.seed,
			WEXITSTATUS(status));
	print_repeat(&worker->job);
	return EXIT_CRASH;
}

/* ret: seconds of a processor that the process has had; 0 if that cannot be told. */
static uint64_t used_s(pid_t pid)
{
	struct timespec used = {0};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec;
}

static void end_if_hung(uint32_t index, pid_t pid, uint64_t at_s)
{
	static uint64_t beat[JOBS_MAX], beat_s[JOBS_MAX], beat_used_s[JOBS_MAX];
	const struct sim_totals *totals = &shared->worker[index].totals;
	uint64_t now = __atomic_load_n(&totals->turns, __ATOMIC_RELAXED) +
		       __atomic_load_n(&totals->schedules, __ATOMIC_RELAXED);

	if (now != beat[index] || beat_s[index] == 0) {
		beat[index] = now;
		beat_s[index] = at_s;
		beat_used_s[index] = used_s(pid);
	} else if (at_s - beat_s[index] >= STUCK_S || used_s(pid) >= beat_used_s[index] + HANG_S) {
		kill(pid, SIGABRT);
	}
}

static int wait_for_all(pid_t *pids, uint64_t begin_s, uint32_t *violations)
{
	uint32_t left = o.jobs;
	uint64_t shown_s = begin_s;
	int worst = EXIT_FINE;

	while (left != 0) {
		int status, end;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == 0) {
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
			for (uint32_t i = 0; i < o.jobs; i++) {
				if (pids[i] != 0)
					end_if_hung(i, pids[i], now_s());
			}
			if (now_s() - shown_s >= PROGRESS_S && !o.json) {
				shown_s = now_s();
				print_progress(shown_s - begin_s);
			}
			continue;
		}
		for (uint32_t i = 0; i < o.jobs; i++) {
			if (pids[i] != pid)
				continue;
			left--;
			pids[i] = 0;
			end = judge_end(&shared->worker[i], status);
			*violations += end != EXIT_FINE;
			/* The first to be found: a crash before a wrong answer before no answer. */
			if (end != EXIT_FINE && (worst == EXIT_FINE || end < worst))
				worst = end;
		}
	}
	return worst;
}

static int run_all(void)
{
	uint64_t begin_s = now_s(), end_s = o.seconds != 0 ? begin_s + o.seconds : 0;
	pid_t pids[JOBS_MAX];
	uint32_t violations = 0;
	int status;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	USH_ASSERT(shared != MAP_FAILED);
	/* Segments of 1 MiB come and go with every run. */
	mallopt(M_MMAP_THRESHOLD, 256 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	fflush(stdout);
	for (uint32_t i = 0; i < o.jobs; i++) {
		pids[i] = fork();
		USH_ASSERT(pids[i] >= 0);
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			status = work(i, end_s);
			fflush(stdout);
			_exit(status);
		}
	}
	status = wait_for_all(pids, begin_s, &violations);
	print_json(violations, now_s() - begin_s);
	return status;
}

/* ---- the command line ---- */

static int usage(FILE *out, int status)
{
	fputs("usage: usher-sim [options]\n"
	      "  --seed N      first seed (1)\n"
	      "  --runs N      schedules (1,000, or what --seconds allows)\n"
	      "  --seconds N   stop starting new schedules after so long\n"
	      "  --steps N     steps of each (drawn from the seed, 100 to 600)\n"
	      "  --liveness    then let faults end: everything asked must be answered\n"
	      "  --seeds FILE  run these first: a seed a line, with steps and `liveness` after it\n"
	      "  --jobs N      processes (1)\n"
	      "  --trace       print each step\n"
	      "  --json        nothing but the last line\n"
	      "The last line is JSON. Exit status: 0 nothing found, 1 usage, 10 a crash, 20 safety,\n"
	      "30 liveness.\n",
		out);
	return status;
}

static bool read_number(const char *text, uint64_t most, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return errno == 0 && end != text && *end == '\0' && *value <= most;
}

static bool read_seeds(const char *name)
{
	FILE *file = fopen(name, "r");
	char line[256];

	if (file == NULL) {
		fprintf(stderr, "usher-sim: cannot open %s\n", name);
		return false;
	}
	while (fgets(line, sizeof(line), file) != NULL && o.first_count < SEEDS_MAX) {
		struct job *job = &o.first[o.first_count];
		char *at = line;

		line[strcspn(line, "#\n")] = '\0';
		job->seed = strtoull(line, &at, 0);
		if (at == line)
			continue;
		job->steps = (uint32_t)strtoul(at, NULL, 0);
		job->liveness = strstr(at, "liveness") != NULL;
		o.first_count++;
	}
	fclose(file);
	return true;
}

/* ret: false after a message, or when the option has done all there is to do. */
static bool take_option(int option, const char *text)
{
	uint64_t value = 0;
	bool good = strchr("LTJF", option) != NULL || read_number(text, UINT64_MAX >> 1, &value);

	switch (option) {
	case 's':
		o.seed = value;
		break;
	case 'r':
		o.runs = value;
		break;
	case 't':
		o.steps = (uint32_t)value;
		good &= value >= 1 && value <= 10000000;
		break;
	case 'e':
		o.seconds = (uint32_t)value;
		good &= value >= 1 && value <= 10000000;
		break;
	case 'j':
		o.jobs = (uint32_t)value;
		good &= value >= 1 && value <= JOBS_MAX;
		break;
	case 'L':
		o.liveness = true;
		break;
	case 'T':
		o.trace = true;
		break;
	case 'J':
		o.json = true;
		break;
	case 'F':
		return read_seeds(text);
	default:
		return false;
	}
	if (!good)
		fprintf(stderr, "usher-sim: %s is no good value\n", text);
	return good;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"runs", required_argument, NULL, 'r'},
		{"steps", required_argument, NULL, 't'},
		{"seconds", required_argument, NULL, 'e'},
		{"jobs", required_argument, NULL, 'j'},
		{"seeds", required_argument, NULL, 'F'},
		{"liveness", no_argument, NULL, 'L'},
		{"trace", no_argument, NULL, 'T'},
		{"json", no_argument, NULL, 'J'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			return usage(stdout, EXIT_FINE);
		if (option == '?' || !take_option(option, optarg))
			return usage(stderr, EXIT_USAGE);
	}
	if (optind != argc)
		return usage(stderr, EXIT_USAGE);
	if (o.runs == 0)
		o.runs = o.seconds != 0 ? UINT64_MAX >> 1 : 1000;
	return run_all();
}
