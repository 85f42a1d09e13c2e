/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real disk: io_uring in a temporary directory. What only it can show: the lock between two
 * processes, directories that cannot be made or written, and that what it wrote is read back.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/journal_rig.h"
#include "tests/tap.h"

static struct rig rig;
static char place[256];
static char directory[300];

static void begin(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(place, sizeof(place), "%s/usher-journal-XXXXXX", base != NULL ? base : "/tmp");
	USH_ASSERT(mkdtemp(place) != NULL);
	snprintf(directory, sizeof(directory), "%s/journal", place);
	rig_make(&rig, 1);
	rig.config.directory = directory;
}

static int disk_open(void)
{
	return ush_disk_uring_open(&rig.disk, directory, 8, &rig.message);
}

static void remove_one(void *context, const char *name)
{
	(void)context;
	if (name[0] != '.')
		rig.disk.unlink(rig.disk.context, name);
}

static int each_name(void *argument, const char *name)
{
	remove_one(argument, name);
	return 0;
}

static void end(void)
{
	if (rig.journal != NULL)
		ush_journal_close(rig.journal);
	rig.journal = NULL;
	if (rig.disk.context != NULL && rig.disk.context != rig.fake) {
		rig.disk.list(rig.disk.context, each_name, NULL);
		ush_disk_uring_close(&rig.disk);
	}
	rmdir(directory);
	rmdir(place);
	rig_free(&rig);
}

static bool says(const char *text)
{
	if (strstr(rig.message.text, text) != NULL)
		return true;
	printf("# the message is: %s\n", rig.message.text);
	return false;
}

/* Segments are switched, the ring wraps, two lives; everything is read back. */
static void test_uring_writes_and_reads_back(void)
{
	begin();
	CHECK_EQ(disk_open(), 0);
	CHECK_EQ(rig_up(&rig), 0);
	for (int i = 0; i < 1000; i++) {
		rig_tick(&rig, 40);
		CHECK(rig_settle(&rig, 100000000));
	}
	CHECK(ush_journal_finish(rig.journal, rig.now_ns));
	ush_journal_close(rig.journal);
	rig.journal = NULL;
	ush_disk_uring_close(&rig.disk);
	CHECK_EQ(disk_open(), 0);
	CHECK_EQ(rig_up(&rig), 0);
	CHECK(rig.report.clean);
	CHECK_EQ(rig.report.blocks, 1001);
	CHECK(rig_saw(&rig, 40000));
	end();
}

/* Runs `f` in a child without privileges. ret: its exit status. */
static int status_of(int (*f)(void), uid_t uid)
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0)
		_exit(uid != 0 && setuid(uid) != 0 ? 99 : f());
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_twice(void)
{
	struct ush_journal *second = NULL;
	struct ush_disk disk;

	if (ush_disk_uring_open(&disk, directory, 8, &rig.message) != 0)
		return 1;
	if (ush_journal_open(&second, &rig.config, &disk, 1, &rig.message) != -USH_EBUSY)
		return 2;
	if (!says("another usherd has it") || !says(directory))
		return 3;
	/* An audit may read beside it. */
	rig.config.read_only = true;
	return ush_journal_open(&second, &rig.config, &disk, 1, &rig.message) != 0;
}

static void test_uring_lock_keeps_a_second_process_out(void)
{
	begin();
	CHECK_EQ(disk_open(), 0);
	CHECK_EQ(rig_up(&rig), 0);
	CHECK_EQ(status_of(open_twice, 0), 0);
	end();
}

static int open_unwritable(void)
{
	struct ush_journal *journal = NULL;

	if (disk_open() != 0)
		return 1;
	if (ush_journal_open(&journal, &rig.config, &rig.disk, 1, &rig.message) != -USH_EACCES)
		return 2;
	return says("permission denied") && says("make the directory writable") ? 0 : 3;
}

static void test_uring_unwritable_directory_is_told(void)
{
	begin();
	CHECK_EQ(mkdir(directory, 0555), 0);
	CHECK_EQ(chmod(place, 0755), 0);
	CHECK_EQ(chmod(directory, 0555), 0);
	CHECK_EQ(status_of(open_unwritable, geteuid() == 0 ? 65534 : 0), 0);
	end();
}

static void test_uring_impossible_directories_are_told(void)
{
	struct ush_disk disk;
	char name[700];

	begin();
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CHECK_EQ(ush_disk_uring_open(&disk, name, 8, &rig.message), -USH_EINVAL);
	CHECK(says("longer than"));
	snprintf(name, sizeof(name), "%s/no/such/parent", place);
	CHECK_EQ(ush_disk_uring_open(&disk, name, 8, &rig.message), -USH_ENOENT);
	CHECK(says("make its parent"));
	snprintf(name, sizeof(name), "%s/file", place);
	CHECK(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
	CHECK(ush_disk_uring_open(&disk, name, 8, &rig.message) < 0);
	CHECK(says("cannot open journal directory"));
	unlink(name);
	end();
}

/* Each call of the table that fails says so with an error, and leaves no handle taken. */
static void test_uring_errors_are_errors(void)
{
	int handle;

	begin();
	CHECK_EQ(disk_open(), 0);
	CHECK_EQ(rig.disk.open(rig.disk.context, "none", false), -USH_ENOENT);
	CHECK_EQ(rig.disk.open(rig.disk.context, "none", true), -USH_ENOENT);
	CHECK_EQ(rig.disk.rename(rig.disk.context, "none", "other"), -USH_ENOENT);
	CHECK_EQ(rig.disk.unlink(rig.disk.context, "none"), -USH_ENOENT);
	CHECK_EQ(rig.disk.create(rig.disk.context, "spare", 1 << 20), 0);
	for (int i = 0; i < 200; i++) {
		handle = rig.disk.open(rig.disk.context, "spare", true);
		CHECK(handle >= 0);
		CHECK_EQ(rig.disk.size(rig.disk.context, handle), 1 << 20);
		rig.disk.close(rig.disk.context, handle);
	}
	for (int i = 0; i < 64; i++)
		CHECK(rig.disk.open(rig.disk.context, "spare", i % 2 == 0) >= 0);
	CHECK_EQ(rig.disk.open(rig.disk.context, "spare", true), -USH_EFULL);
	end();
}

int main(void)
{
	struct ush_disk disk;
	struct ush_message message;

	begin();
	if (ush_disk_uring_open(&disk, directory, 8, &message) == -USH_EUNSUPPORTED) {
		TAP_SKIP("test_uring", message.text);
		return tap_end();
	}
	ush_disk_uring_close(&disk);
	end();
	TAP_RUN(test_uring_writes_and_reads_back);
	TAP_RUN(test_uring_lock_keeps_a_second_process_out);
	TAP_RUN(test_uring_unwritable_directory_is_told);
	TAP_RUN(test_uring_impossible_directories_are_told);
	TAP_RUN(test_uring_errors_are_errors);
	return tap_end();
}
