/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message's life: taken from the free list, filled by recvmsg, passed to the loop of its event
 * (or answered here), back through the loop's reply ring, sent, and free again. If its client is
 * gone by then, it is only freed.
 */
#include "port/control.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_ring.h>

#include "admit/admit.h"
#include "port/control_internal.h"

/* Requests read from one client before the next one has its turn. */
#define READ_BURST 16u

/* ---- messages ---- */

static uint64_t now_coarse_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void control_message_free(struct ush_control *control, struct ush_control_message *message)
{
	message->next = control->free;
	control->free = message;
}

/* ret: the client a message belongs to, or NULL when it has left. */
static struct client *message_client(
	struct ush_control *control, const struct ush_control_message *message)
{
	struct client *client = &control->clients[message->client];

	return client->fd >= 0 && client->generation == message->generation ? client : NULL;
}

static void interest_set(struct ush_control *control, struct client *client)
{
	bool full = client->outstanding >= USH_CONTROL_CLIENT_MESSAGES || control->free == NULL;
	uint32_t wanted = (control->draining || full ? 0u : (uint32_t)EPOLLIN) |
			  (client->unsent != NULL ? (uint32_t)EPOLLOUT : 0u);
	struct epoll_event event = {
		.events = wanted, .data.u32 = (uint32_t)(client - control->clients)};

	if (wanted == client->interest)
		return;
	client->interest = wanted;
	epoll_ctl(control->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

void control_client_close(struct ush_control *control, struct client *client)
{
	while (client->unsent != NULL) {
		struct ush_control_message *message = client->unsent;

		client->unsent = message->next;
		control_message_free(control, message);
	}
	close(client->fd);
	client->fd = -1;
	/* Replies that are still in the loops are for nobody. */
	client->generation++;
	client->outstanding = 0;
	control->counters.clients--;
}

/* Says what a client did wrong, and closes it: its messages cannot be told apart any more. */
static void client_malformed(struct ush_control *control, struct client *client, const char *what)
{
	uint64_t muted;

	control->counters.malformed++;
	if (ush_diag_allowed(&control->limit_malformed, now_coarse_ns(), &muted))
		ush_diag(USH_DIAG_WARN, "control_malformed", USH_TEXT("what", what),
			USH_U64("uid", client->uid), USH_U64("pid", client->pid),
			USH_U64("muted", muted));
	control_client_close(control, client);
}

/* Sends what the socket takes. ret: false if the client is gone. */
static bool client_send(struct ush_control *control, struct client *client)
{
	while (client->unsent != NULL) {
		struct ush_control_message *message = client->unsent;
		ssize_t sent =
			send(client->fd, message->data, message->size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
			break;
		if (sent < 0) {
			control_client_close(control, client);
			return false;
		}
		client->unsent = message->next;
		client->outstanding--;
		control->counters.replies++;
		control_message_free(control, message);
	}
	if (client->unsent == NULL)
		client->unsent_end = &client->unsent;
	return true;
}

/* A message that holds its reply goes to its client. */
static void message_reply(struct ush_control *control, struct ush_control_message *message)
{
	struct client *client = message_client(control, message);

	if (client == NULL) {
		control_message_free(control, message);
		return;
	}
	message->next = NULL;
	*client->unsent_end = message;
	client->unsent_end = &message->next;
}

void control_answer(struct ush_control *control, struct ush_control_message *message,
	enum ush_status status, uint32_t detail, const char *text)
{
	size_t length = text != NULL ? strlen(text) : 0;
	struct ush_extension_header header = {.type = USH_EXTENSION_TEXT};
	struct ush_request request;
	struct ush_reply reply;

	USH_ASSERT(length < USH_CONTROL_BYTES_MAX - sizeof(reply) - sizeof(header) - 8);
	memcpy(&request, message->data, sizeof(request));
	memset(&reply, 0, sizeof(reply));
	reply.magic = USH_REPLY_MAGIC;
	reply.version = USH_VERSION;
	reply.op = request.op;
	reply.size = sizeof(reply);
	reply.status = (uint8_t)status;
	reply.event = request.event;
	reply.request_id = request.request_id;
	reply.cookie = request.cookie;
	reply.detail = detail;
	if (text != NULL) {
		header.size = (uint16_t)(sizeof(header) + ((length + 7) & ~(size_t)7));
		header.value = (uint32_t)length;
		reply.extension_count = 1;
		reply.size = (uint16_t)(reply.size + header.size);
		memset(message->data + sizeof(reply), 0, header.size);
		memcpy(message->data + sizeof(reply), &header, sizeof(header));
		memcpy(message->data + sizeof(reply) + sizeof(header), text, length);
	}
	memcpy(message->data, &reply, sizeof(reply));
	message->size = reply.size;
	message_reply(control, message);
}

void control_pass(struct ush_control *control, struct ush_control_message *message)
{
	struct ush_request request;
	struct ush_worker *worker;
	int error;

	memcpy(&request, message->data, sizeof(request));
	worker = &control->config.workers[request.event % control->config.loop_count];
	error = rte_ring_sp_enqueue(worker->mailbox.requests, message);
	/* The ring has room for every message there is. */
	USH_ASSERT(error == 0);
	control->in_loops++;
}

static void answer_stats(struct ush_control *control, struct ush_control_message *message)
{
	/* What fits beside reply, extension header and padding. */
	static char text[USH_CONTROL_BYTES_MAX - 128];
	struct ush_request request;
	uint64_t next;
	size_t size;

	memcpy(&request, message->data, sizeof(request));
	size = ush_stats_text(control->config.stats, request.arg, text, sizeof(text) - 1, &next);
	text[size] = 0;
	control_answer(control, message, USH_STATUS_OK, (uint32_t)next, text);
}

/* One request came in. ret: false if the client was closed for it. */
static bool message_take(struct ush_control *control, struct client *client,
	struct ush_control_message *message, int fd)
{
	struct ush_admitted admitted;
	bool ours;

	if (message->size < sizeof(admitted.request)) {
		if (fd >= 0)
			close(fd);
		control_message_free(control, message);
		client_malformed(control, client, "shorter than a request");
		return false;
	}
	/* What is not well-formed is refused by the loop, as on the public ports. */
	ush_admit(message->data, message->size, true, &admitted);
	ours = admitted.verdict == USH_ADMIT_PASS;
	control->counters.requests++;
	client->outstanding++;
	if (ours && admitted.request.op == USH_OP_EVENT_LOAD) {
		control_load(control, message, fd);
		return true;
	}
	if (ours && admitted.request.op == USH_OP_EVENT_CHANGE) {
		control_change(control, message, fd);
		return true;
	}
	if (fd >= 0)
		close(fd);
	if (ours && admitted.request.op == USH_OP_STATS)
		answer_stats(control, message);
	else if (ours && admitted.request.op == USH_OP_KEY_ROTATE)
		control_rotate(control, message);
	else {
		if (ours && admitted.request.op == USH_OP_ROOM_CONTROL)
			ush_engine_room_prepare(
				control->config.engine, message->data, message->size);
		control_pass(control, message);
	}
	return true;
}

/* ---- clients ---- */

/* ret: the first descriptor of a message, or -1; others are closed. */
static int descriptor_take(struct msghdr *header)
{
	struct cmsghdr *c;
	int first = -1;

	for (c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		size_t count, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

/* Reads one message. ret: false when there is nothing more to read, or the client is gone. */
static bool client_read_one(struct ush_control *control, struct client *client)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
	} ancillary;
	struct ush_control_message *message = control->free;
	struct iovec part = {.iov_base = message->data, .iov_len = USH_CONTROL_BYTES_MAX};
	struct msghdr header = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &ancillary,
		.msg_controllen = sizeof(ancillary)};
	ssize_t got = recvmsg(client->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return false;
	if (got <= 0) {
		control_client_close(control, client);
		return false;
	}
	fd = descriptor_take(&header);
	if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (fd >= 0)
			close(fd);
		client_malformed(control, client, "longer than a request may be");
		return false;
	}
	control->free = message->next;
	message->client = (uint32_t)(client - control->clients);
	message->generation = client->generation;
	message->attachment = NULL;
	message->is_load = false;
	message->is_change = false;
	message->size = (uint32_t)got;
	return message_take(control, client, message, fd);
}

static void client_read(struct ush_control *control, struct client *client)
{
	uint32_t i;

	for (i = 0; i < READ_BURST; i++) {
		if (control->free == NULL || client->outstanding >= USH_CONTROL_CLIENT_MESSAGES ||
			control->draining)
			return;
		if (!client_read_one(control, client))
			return;
	}
}

static bool uid_allowed(const struct ush_control *control, uint32_t uid)
{
	const struct ush_uid_list *uids = control->config.uids;
	uint32_t i;

	for (i = 0; i < uids->count; i++)
		if (uids->uid[i] == uid)
			return true;
	return false;
}

/* Admits or refuses the peer of `fd`. */
static void client_accept(struct ush_control *control, int fd)
{
	struct ucred peer = {.uid = UINT32_MAX};
	socklen_t size = sizeof(peer);
	struct epoll_event event = {.events = EPOLLIN};
	struct client *client = NULL;
	bool known, allowed;
	uint64_t muted;
	uint32_t i;

	for (i = 0; i < control->config.client_max && client == NULL; i++)
		if (control->clients[i].fd < 0)
			client = &control->clients[i];
	known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
	allowed = known && uid_allowed(control, peer.uid);
	if (allowed && client != NULL && !control->draining) {
		event.data.u32 = (uint32_t)(client - control->clients);
		if (epoll_ctl(control->epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
			client->fd = fd;
			client->outstanding = 0;
			client->interest = EPOLLIN;
			client->uid = peer.uid;
			client->pid = peer.pid;
			client->unsent = NULL;
			client->unsent_end = &client->unsent;
			control->counters.clients++;
			control->counters.accepted++;
			return;
		}
	}
	control->counters.refused++;
	if (ush_diag_allowed(&control->limit_refused, now_coarse_ns(), &muted))
		ush_diag(USH_DIAG_WARN, "control_client_refused", USH_U64("uid", peer.uid),
			USH_U64("pid", peer.pid),
			USH_TEXT("why",
				!allowed ? "not in [control] allow_uid" : "too many clients"),
			USH_U64("muted", muted));
	close(fd);
}

static void listener_ready(struct ush_control *control)
{
	uint32_t i;

	for (i = 0; i < READ_BURST; i++) {
		int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		client_accept(control, fd);
	}
}

/* ---- rounds ---- */

/* ret: replies taken from the loops. */
static uint32_t replies_take(struct ush_control *control)
{
	struct ush_control_message *messages[64];
	uint32_t taken = 0, loop, count, i;

	for (loop = 0; loop < control->config.loop_count; loop++) {
		count = rte_ring_sc_dequeue_burst(
			control->config.workers[loop].mailbox.replies, (void **)messages, 64, NULL);
		for (i = 0; i < count; i++) {
			struct client *client = message_client(control, messages[i]);

			control->in_loops--;
			if (messages[i]->is_load)
				control_load_done(control, messages[i]);
			if (messages[i]->is_change)
				control_change_done(control, messages[i]);
			if (messages[i]->size != 0) {
				message_reply(control, messages[i]);
				continue;
			}
			/* The loop dropped it: not a request at all. */
			control_message_free(control, messages[i]);
			if (client != NULL)
				client_malformed(control, client, "not a well-formed request");
		}
		taken += count;
	}
	return taken;
}

static void clients_settle(struct ush_control *control)
{
	uint32_t i;

	for (i = 0; i < control->config.client_max; i++) {
		struct client *client = &control->clients[i];

		if (client->fd < 0 || !client_send(control, client))
			continue;
		interest_set(control, client);
	}
	control->counters.outstanding = control->in_loops;
}

/* How long to wait: replies come without waking us, so look often while some are on their way. */
static struct timespec wait_time(const struct ush_control *control, uint32_t wait_ms)
{
	if (control->in_loops == 0)
		return (struct timespec){wait_ms / 1000, (long)(wait_ms % 1000) * 1000000};
	/* A durable write takes some 100 us; a slow one does not want to be asked 20,000 times. */
	return (struct timespec){0, control->quiet_polls < 100 ? 50000 : 1000000};
}

void ush_control_poll(struct ush_control *control, uint32_t wait_ms)
{
	struct timespec wait = wait_time(control, wait_ms);
	struct epoll_event events[64];
	int count, i;

	count = epoll_pwait2(control->epoll, events, 64, &wait, NULL);
	for (i = 0; i < count; i++) {
		struct client *client;

		if (events[i].data.u32 == CONTROL_LISTENER) {
			listener_ready(control);
			continue;
		}
		client = &control->clients[events[i].data.u32];
		if (client->fd < 0)
			continue;
		if ((events[i].events & EPOLLIN) != 0)
			client_read(control, client);
		else if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0)
			control_client_close(control, client);
	}
	if (replies_take(control) != 0 || count > 0)
		control->quiet_polls = 0;
	else
		control->quiet_polls++;
	clients_settle(control);
}

void ush_control_drain(struct ush_control *control)
{
	control->draining = true;
	clients_settle(control);
}

uint32_t ush_control_outstanding(const struct ush_control *control)
{
	uint32_t count = control->in_loops, i;

	for (i = 0; i < control->config.client_max; i++)
		count += control->clients[i].fd >= 0 && control->clients[i].unsent != NULL;
	return count;
}
