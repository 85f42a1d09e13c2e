# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts share. Sourced by them after `set -euo pipefail`; ROOT is the repository.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROGRAM=scripts/$(basename "$0")

# Everything that a human reads while it happens goes to stderr; stdout is for results.
say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "$PROGRAM: $*"
	exit 1
}

# usage_error TEXT: the command line makes no sense.
usage_error()
{
	say "$PROGRAM: $*; --help says what there is"
	exit 2
}

# print_help: the comment at the top of the script, without its marks.
print_help()
{
	sed -n '3,/^$/{s/^# \{0,1\}//;p}' "$0"
}

# ---- processes ----

# stop_process PID SECONDS: SIGTERM, after SECONDS SIGKILL. ret: its exit status.
stop_process()
{
	local pid=$1 tenths=$(($2 * 10)) status=0

	if kill -0 "$pid" 2>/dev/null; then # already gone is what we want
		kill -TERM "$pid"
		while kill -0 "$pid" 2>/dev/null && ((tenths-- > 0)); do
			sleep 0.1
		done
		if kill -0 "$pid" 2>/dev/null; then
			say "$PROGRAM: process $pid does not stop: killed"
			kill -KILL "$pid"
		fi
	fi
	wait "$pid" || status=$?
	return "$status"
}

# foreground COMMAND...: waits for it so that traps run at once; `running` is its process meanwhile.
running=''
foreground()
{
	local status=0

	"$@" </dev/null &
	running=$!
	wait "$running" || status=$?
	running=''
	return "$status"
}

# now_ms: wall clock.
now_ms()
{
	printf '%s' $((${EPOCHREALTIME/[.,]/} / 1000))
}

# ---- builds ----

# configure DIR MESON-OPTION...: makes the build folder unless it is there.
configure()
{
	local dir=$1

	shift
	if [[ ! -f $dir/build.ninja ]]; then
		meson setup "$dir" "$ROOT" "$@"
	fi
}

# quietly LOG COMMAND...: its output goes to LOG, and is shown if it fails.
quietly()
{
	local log=$1 status=0

	shift
	foreground "$@" >"$log" 2>&1 || status=$?
	if ((status != 0)); then
		say "$PROGRAM: failed with status $status: $*"
		tail -n 60 "$log" >&2
	fi
	return "$status"
}
