/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of what is refused, not of what is allowed: libcurl, libpq, SQLite and OpenSSL change what
 * they call from release to release, and a wrong guess would stop a sale. Refused is what turns a
 * bug in a parser into a shell or into another process: exec, ptrace and memory of others,
 * namespaces, mounts, modules, keys, bpf, other architectures' calls.
 */
#include "daemon/secure.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/core.h"
#include "daemon/log.h"

/* Calls to others (256), the database's connections (64), files; src: guess. */
#define OTHER_DESCRIPTORS 512u

static const char *const refused[] = {"execve", "execveat", "fork", "vfork", "ptrace",
	"process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2",
	"move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "pivot_root", "chroot",
	"unshare", "setns", "init_module", "finit_module", "delete_module", "kexec_load",
	"kexec_file_load", "reboot", "swapon", "swapoff", "bpf", "perf_event_open", "userfaultfd",
	"add_key", "request_key", "keyctl", "acct", "quotactl", "settimeofday", "clock_settime",
	"adjtimex", "clock_adjtime", "sethostname", "setdomainname", "mknod", "mknodat", "setuid",
	"setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "capset",
	"personality", "ioperm", "iopl", "syslog", "vhangup", "open_by_handle_at",
	"name_to_handle_at"};

static int call_fail(const char *what, int value, struct ush_message *message)
{
	ush_message_set(message, "%s failed: %s; control.seccomp=no starts without the filter",
		what, strerror(value));
	return -USH_ESYSTEM;
}

int ush_secure_privileges(struct ush_message *message)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	const struct rlimit no_core = {0, 0};

	/* The bounding set can be cut by root only; without it there is nothing to cut. */
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
			break;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return call_fail("clearing ambient capabilities", errno, message);
	if (syscall(SYS_capset, &header, none) != 0)
		return call_fail("capset", errno, message);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return call_fail("no_new_privs", errno, message);
	/* A core has keys and names of people. */
	if (setrlimit(RLIMIT_CORE, &no_core) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return call_fail("switching off cores", errno, message);
	return 0;
}

void ush_secure_descriptors(uint32_t *connections)
{
	const uint64_t wanted = (uint64_t)*connections + OTHER_DESCRIPTORS;
	struct rlimit limit, raised;
	uint64_t other = OTHER_DESCRIPTORS;
	char text[24];

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	raised = limit;
	raised.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	if (limit.rlim_cur >= wanted)
		return;
	other = other < limit.rlim_cur / 2 ? other : limit.rlim_cur / 2;
	*connections = limit.rlim_cur > other ? (uint32_t)(limit.rlim_cur - other) : 1;
	snprintf(text, sizeof(text), "%u", *connections);
	ush_core_log(USH_CORE_WARN, "daemon",
		"fewer connections than http.connections: the limit of open files is too low",
		"connections", text, NULL);
}

int ush_secure_calls(struct ush_message *message)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int ret;

	USH_ASSERT(filter != NULL);
	/* Threads of the database have begun already. */
	ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; ret == 0 && i < sizeof(refused) / sizeof(refused[0]); i++) {
		const int number = seccomp_syscall_resolve_name(refused[i]);

		/* Those that the machine does not have. */
		if (number != __NR_SCMP_ERROR)
			ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
		if (number < 0)
			ret = 0;
	}
	if (ret == 0)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret == 0 ? 0 : call_fail("seccomp", -ret, message);
}
