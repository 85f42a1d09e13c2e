/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link to usherd against a small fake on a socket of its own: replies out of order, late,
 * lost, malformed; the socket breaks, comes back, and takes no more for a while.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "link/link.h"
#include "tests/tap.h"

static struct event_base *base;
static char directory[] = "/tmp/usher-link-XXXXXX";
static char path[64];
static struct ush_link *ush_link_under_test;
static int up_count, down_count;

/* ---- the fake ---- */

static int fake_listen(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	unlink(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 8) == 0);
	return fd;
}

static int fake_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* ret: whether a request came; *fd: a descriptor that came with it, or -1. */
static bool fake_read(int fake, struct ush_request *request, int *fd)
{
	struct iovec part = {request, sizeof(*request)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {0};
	struct msghdr envelope = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes)};

	*fd = -1;
	if (recvmsg(fake, &envelope, 0) < (ssize_t)sizeof(*request))
		return false;
	if (CMSG_FIRSTHDR(&envelope) != NULL)
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&envelope)), sizeof(*fd));
	return true;
}

static void fake_reply(int fake, const struct ush_request *request, uint8_t status)
{
	struct ush_reply reply = {.magic = USH_REPLY_MAGIC,
		.version = USH_VERSION,
		.op = request->op,
		.size = sizeof(reply),
		.status = status,
		.cookie = request->cookie,
		.amount = request->arg};

	CHECK(send(fake, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply));
}

/* ---- calls ---- */

struct outcome {
	int calls;
	int result;
	uint64_t amount;
	struct ush_link *again; /* calls once more from within */
	struct outcome *next;
};

static struct ush_request request_of(uint64_t arg)
{
	return (struct ush_request){.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_STATUS,
		.size = sizeof(struct ush_request),
		.arg = arg};
}

static void done(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct outcome *outcome = context;
	struct ush_request request = request_of(99);

	outcome->calls++;
	outcome->result = result;
	CHECK((reply != NULL) == (result == 0));
	CHECK(reply == NULL || bytes == reply->size);
	outcome->amount = reply != NULL ? reply->amount : 0;
	if (outcome->again != NULL)
		ush_link_call(outcome->again, &request, -1, 5000, done, outcome->next);
}

static void ask(uint64_t arg, uint32_t timeout_ms, struct outcome *outcome)
{
	struct ush_request request = request_of(arg);

	*outcome = (struct outcome){.again = outcome->again, .next = outcome->next};
	ush_link_call(ush_link_under_test, &request, -1, timeout_ms, done, outcome);
	CHECK_EQ(outcome->calls, 0);
}

static void changed(void *context, bool up)
{
	CHECK(context == &base);
	*(up ? &up_count : &down_count) += 1;
}

/* Runs the loop until a count is reached, at most 5 s. */
static void run_until(const int *count, int wanted)
{
	for (int i = 0; i < 5000 && *count < wanted; i++) {
		struct timeval tick = {0, 1000};

		event_base_loopexit(base, &tick);
		event_base_dispatch(base);
	}
	CHECK_EQ(*count, wanted);
}

static void link_start(void)
{
	struct ush_message message;

	up_count = down_count = 0;
	CHECK_EQ(ush_link_open(&ush_link_under_test, path, base, changed, &base, &message), 0);
}

/* ---- tests ---- */

/* Goal: each reply finds its call whatever the order, and a second reply nobody. */
static void test_link_replies_in_any_order_find_their_calls(void)
{
	int listener = fake_listen(), fake, fd;
	struct ush_request request[100];
	struct outcome outcome[100] = {0};

	link_start();
	run_until(&up_count, 1);
	fake = fake_accept(listener);
	for (uint32_t i = 0; i < 100; i++)
		ask(1000 + i, 5000, &outcome[i]);
	for (uint32_t i = 0; i < 100; i++)
		CHECK(fake_read(fake, &request[i], &fd));
	for (uint32_t i = 100; i-- > 0;) {
		fake_reply(fake, &request[i], 0);
		fake_reply(fake, &request[i], 0);
	}
	run_until(&outcome[0].calls, 1);
	for (uint32_t i = 0; i < 100; i++) {
		CHECK_EQ(outcome[i].calls, 1);
		CHECK_EQ(outcome[i].result, 0);
		CHECK_EQ(outcome[i].amount, 1000 + i);
	}
	ush_link_close(ush_link_under_test);
	close(fake);
	close(listener);
}

/* Goal: a late reply is dropped, also when its slot belongs to another call by then. */
static void test_link_reply_after_timeout_is_nobodys(void)
{
	int listener = fake_listen(), fake, fd;
	struct ush_request old, new;
	struct outcome late = {0}, next = {0};

	link_start();
	run_until(&up_count, 1);
	fake = fake_accept(listener);
	ask(1, 20, &late);
	run_until(&late.calls, 1);
	CHECK_EQ((uint64_t)-late.result, USH_EBUSY);
	ask(2, 5000, &next);
	CHECK(fake_read(fake, &old, &fd));
	CHECK(fake_read(fake, &new, &fd));
	CHECK_EQ((uint32_t)old.cookie, (uint32_t) new.cookie);
	fake_reply(fake, &old, 0);
	fake_reply(fake, &new, 0);
	run_until(&next.calls, 1);
	CHECK_EQ(next.amount, 2);
	CHECK_EQ(late.calls, 1);
	ush_link_close(ush_link_under_test);
	close(fake);
	close(listener);
}

/* Goal: nobody there is said at once; a broken link says what was sent and what was not, tells,
 * and comes back by itself. Method: calls from within `done`, too. */
static void test_link_broken_tells_sent_from_unsent_and_comes_back(void)
{
	int listener, fake;
	struct outcome nobody = {0}, second = {0}, sent = {.next = &second};

	unlink(path);
	link_start();
	ask(1, 5000, &nobody);
	run_until(&nobody.calls, 1);
	CHECK_EQ((uint64_t)-nobody.result, USH_ENOENT);
	CHECK(!ush_link_is_up(ush_link_under_test));
	listener = fake_listen();
	run_until(&up_count, 1);
	fake = fake_accept(listener);
	sent.again = ush_link_under_test;
	ask(2, 5000, &sent);
	close(fake);
	run_until(&sent.calls, 1);
	CHECK_EQ((uint64_t)-sent.result, USH_ESTOPPED);
	run_until(&second.calls, 1);
	CHECK_EQ((uint64_t)-second.result, USH_ENOENT);
	CHECK_EQ(down_count, 1);
	run_until(&up_count, 2);
	CHECK(ush_link_is_up(ush_link_under_test));
	ush_link_close(ush_link_under_test);
	close(listener);
}

/* Goal: more requests than the socket takes wait and go on in order; those that still wait when it
 * breaks were surely not done. */
static void test_link_full_socket_queues_in_order(void)
{
	enum {
		COUNT = 2000
	};
	static struct outcome outcome[COUNT];
	int listener = fake_listen(), fake, fd, unsent = 0, stopped = 0;
	struct ush_request request;
	uint64_t next = 0;

	memset(outcome, 0, sizeof(outcome));
	link_start();
	run_until(&up_count, 1);
	fake = fake_accept(listener);
	for (uint32_t i = 0; i < COUNT; i++)
		ask(i, 5000, &outcome[i]);
	for (uint32_t i = 0; i < COUNT / 2; i++) {
		while (!fake_read(fake, &request, &fd))
			event_base_loop(base, EVLOOP_NONBLOCK);
		CHECK_EQ(request.arg, next++);
		fake_reply(fake, &request, 0);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	run_until(&outcome[COUNT / 2 - 1].calls, 1);
	close(fake);
	run_until(&down_count, 1);
	for (uint32_t i = 0; i < COUNT; i++) {
		CHECK_EQ(outcome[i].calls, 1);
		CHECK_EQ(outcome[i].result == 0, i < COUNT / 2);
		stopped += outcome[i].result == -USH_ESTOPPED;
		unsent += outcome[i].result == -USH_ENOENT;
		/* Once one was not sent, none after it was. */
		CHECK(unsent == 0 || outcome[i].result == -USH_ENOENT);
	}
	CHECK(unsent > 0);
	CHECK_EQ(stopped + unsent, COUNT / 2);
	ush_link_close(ush_link_under_test);
	close(listener);
}

/* Goal: a descriptor reaches the other side; what is no reply ends the connection; closing answers
 * everything. */
static void test_link_descriptor_garbage_and_close(void)
{
	int listener = fake_listen(), fake, fd, pipes[2];
	struct ush_request request = request_of(7);
	struct outcome with = {0}, waits = {0}, refused = {0};
	char byte = 0;

	CHECK(pipe(pipes) == 0);
	link_start();
	run_until(&up_count, 1);
	fake = fake_accept(listener);
	ush_link_call(ush_link_under_test, &request, pipes[1], 5000, done, &with);
	CHECK(fake_read(fake, &request, &fd));
	CHECK(fd >= 0);
	CHECK(write(fd, "x", 1) == 1);
	CHECK(read(pipes[0], &byte, 1) == 1 && byte == 'x');
	close(fd);
	CHECK(send(fake, "what is this", 12, 0) == 12);
	run_until(&with.calls, 1);
	CHECK_EQ((uint64_t)-with.result, USH_ESTOPPED);
	ask(1, 5000, &refused);
	run_until(&up_count, 2);
	CHECK_EQ(refused.calls, 1);
	ask(8, 5000, &waits);
	ush_link_close(ush_link_under_test);
	CHECK_EQ(waits.calls, 1);
	CHECK_EQ((uint64_t)-waits.result, USH_ESTOPPED);
	close(fake);
	close(listener);
	close(pipes[0]);
	close(pipes[1]);
}

/* Goal: a path that no socket can have is refused. */
static void test_link_path_too_long_is_refused(void)
{
	char name[200];
	struct ush_link *none = NULL;
	struct ush_message message = {.text = ""};

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	CHECK_EQ((uint64_t)-ush_link_open(&none, name, base, NULL, NULL, &message), USH_EINVAL);
	CHECK(none == NULL);
	CHECK(strstr(message.text, "107 bytes") != NULL);
}

int main(void)
{
	base = event_base_new();
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/control.sock", directory);
	TAP_RUN(test_link_replies_in_any_order_find_their_calls);
	TAP_RUN(test_link_reply_after_timeout_is_nobodys);
	TAP_RUN(test_link_broken_tells_sent_from_unsent_and_comes_back);
	TAP_RUN(test_link_full_socket_queues_in_order);
	TAP_RUN(test_link_descriptor_garbage_and_close);
	TAP_RUN(test_link_path_too_long_is_refused);
	unlink(path);
	rmdir(directory);
	event_base_free(base);
	return tap_end();
}
