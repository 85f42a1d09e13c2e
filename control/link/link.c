/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call takes a slot, which its cookie names, and is sent at once. If the socket takes no more it
 * waits in the queue of what was not sent; its timer runs all the while. A reply finds its call by
 * the cookie and frees the slot.
 *
 * Failure modes: the socket breaks: what was sent is answered -USH_ESTOPPED, what was not
 * -USH_ENOENT, and the link connects again after 10 ms, doubled up to 1 s. A reply that nobody
 * waits for any more is dropped. What is no reply breaks the link.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "link/link.h"

#define BACKOFF_FIRST_MS 10u
#define BACKOFF_LAST_MS 1000u
/* Calls at once; src: guess. */
#define CALLS_MAX 65536u
/* Replies read before other events have their turn. */
#define BATCH 64u

struct call {
	struct ush_link *link;
	ush_link_done *done;
	void *context;
	struct ush_request *request; /* a copy while it waits to be sent; NULL: it was sent */
	struct call *next;           /* in the queue, or among those refused */
	struct event timer;
	uint64_t cookie;
	uint32_t slot;
	int fd;
	int late; /* what the timer answers */
};

struct ush_link {
	struct event_base *base;
	const char *path;
	void (*changed)(void *context, bool up);
	void *context;
	struct event read;
	struct event write;
	struct event again; /* connects */
	struct call **slot;
	uint32_t slot_count;
	uint32_t *free_slot;
	uint32_t free_count;
	uint32_t generation;
	struct call *first; /* to be sent */
	struct call **last;
	struct call *refused; /* without a slot: answered by the loop's next turn */
	uint32_t backoff_ms;
	int socket; /* -1: not connected */
	bool broken;
	uint8_t reply[USH_CONTROL_BYTES_MAX] USH_ALIGNED(8);
};

static struct timeval after(uint32_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

/* ---- slots --------------------------------------------------------------------------------- */

static bool slots_grow(struct ush_link *link)
{
	uint32_t count = link->slot_count == 0 ? 64 : link->slot_count * 2;
	struct call **slot;
	uint32_t *spare;

	if (count > CALLS_MAX)
		return false;
	slot = realloc(link->slot, count * sizeof(struct call *));
	if (slot == NULL)
		return false;
	link->slot = slot;
	spare = realloc(link->free_slot, count * sizeof(uint32_t));
	if (spare == NULL)
		return false;
	link->free_slot = spare;
	for (uint32_t i = count; i-- > link->slot_count;) {
		slot[i] = NULL;
		spare[link->free_count++] = i;
	}
	link->slot_count = count;
	return true;
}

static void call_free(struct call *call)
{
	event_del(&call->timer);
	if (call->fd >= 0)
		close(call->fd);
	free(call->request);
	free(call);
}

/* Takes a call out of a list that it is in. in: last: where the list ends; NULL: nobody asks. */
static void unlink_call(struct call **first, struct call ***last, struct call *call)
{
	struct call **at = first;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	if (call->next == NULL && last != NULL)
		*last = at;
}

/* Takes a call out of its slot and the queue, then answers it. */
static void finish(struct call *call, int result, const struct ush_reply *reply, size_t reply_bytes)
{
	struct ush_link *link = call->link;
	ush_link_done *done = call->done;
	void *context = call->context;

	if (call->slot != UINT32_MAX) {
		link->slot[call->slot] = NULL;
		link->free_slot[link->free_count++] = call->slot;
	}
	if (call->request != NULL)
		unlink_call(&link->first, &link->last, call);
	else if (call->slot == UINT32_MAX)
		unlink_call(&link->refused, NULL, call);
	call_free(call);
	done(context, result, reply, reply_bytes);
}

static void call_late(evutil_socket_t fd, short what, void *context)
{
	struct call *call = context;

	(void)fd;
	(void)what;
	finish(call, call->late, NULL, 0);
}

/* ---- connection ---------------------------------------------------------------------------- */

static void when_readable(evutil_socket_t fd, short what, void *context);
static void when_writable(evutil_socket_t fd, short what, void *context);

static bool link_connect(struct ush_link *link)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	memcpy(address.sun_path, link->path, strlen(link->path) + 1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return false;
	}
	event_assign(&link->read, link->base, fd, EV_READ | EV_PERSIST, when_readable, link);
	event_assign(&link->write, link->base, fd, EV_WRITE, when_writable, link);
	event_add(&link->read, NULL);
	link->socket = fd;
	link->broken = false;
	return true;
}

static void connect_later(struct ush_link *link)
{
	struct timeval wait = after(link->backoff_ms);

	link->backoff_ms = (uint32_t)ush_min64(link->backoff_ms * 2ull, BACKOFF_LAST_MS);
	evtimer_add(&link->again, &wait);
}

static void connect_again(evutil_socket_t fd, short what, void *context)
{
	struct ush_link *link = context;

	(void)fd;
	(void)what;
	if (!link_connect(link)) {
		connect_later(link);
		return;
	}
	if (link->changed != NULL)
		link->changed(link->context, true);
}

static void link_disconnect(struct ush_link *link)
{
	if (link->socket < 0)
		return;
	event_del(&link->read);
	event_del(&link->write);
	close(link->socket);
	link->socket = -1;
}

/* Answers everything that waits. The socket is closed, so what `done` adds is refused. */
static void answer_all(struct ush_link *link, bool closing)
{
	for (uint32_t i = 0; i < link->slot_count; i++) {
		struct call *call = link->slot[i];

		if (call != NULL)
			finish(call, closing || call->request == NULL ? -USH_ESTOPPED : -USH_ENOENT,
				NULL, 0);
	}
	while (closing && link->refused != NULL)
		finish(link->refused, -USH_ENOENT, NULL, 0);
}

static void link_break(struct ush_link *link)
{
	link_disconnect(link);
	connect_later(link);
	if (link->changed != NULL)
		link->changed(link->context, false);
	answer_all(link, false);
}

/* ---- replies ------------------------------------------------------------------------------- */

/* ret: false: that is no reply. */
static bool take_reply(struct ush_link *link, size_t bytes)
{
	const struct ush_reply *reply = (const struct ush_reply *)(const void *)link->reply;
	uint32_t slot;
	struct call *call;

	if (bytes < sizeof(*reply) || reply->magic != USH_REPLY_MAGIC || reply->size != bytes)
		return false;
	link->backoff_ms = BACKOFF_FIRST_MS;
	slot = (uint32_t)reply->cookie;
	call = slot < link->slot_count ? link->slot[slot] : NULL;
	if (call != NULL && call->cookie == reply->cookie && call->request == NULL)
		finish(call, 0, reply, bytes);
	return true;
}

static void when_readable(evutil_socket_t fd, short what, void *context)
{
	struct ush_link *link = context;

	(void)what;
	for (uint32_t i = 0; i < BATCH && link->socket == fd; i++) {
		ssize_t got;

		if (link->broken) {
			link_break(link);
			return;
		}
		got = recv(fd, link->reply, sizeof(link->reply), 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0 || !take_reply(link, (size_t)got)) {
			link_break(link);
			return;
		}
	}
}

/* ---- requests ------------------------------------------------------------------------------ */

/* ret: 1 sent, 0 later, -1 the link is broken. */
static int send_request(struct ush_link *link, const struct ush_request *request, int fd)
{
	struct iovec part = {(void *)(uintptr_t)request, request->size};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {0};
	struct msghdr envelope = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t sent;

	if (fd >= 0) {
		envelope.msg_control = rights.bytes;
		envelope.msg_controllen = sizeof(rights.bytes);
		rights.header.cmsg_level = SOL_SOCKET;
		rights.header.cmsg_type = SCM_RIGHTS;
		rights.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
	}
	do {
		sent = sendmsg(link->socket, &envelope, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent == (ssize_t)request->size)
		return 1;
	return sent < 0 && (errno == EAGAIN || errno == ENOBUFS) ? 0 : -1;
}

/* The link is down, but nobody may be called now: the loop will. */
static void break_soon(struct ush_link *link)
{
	link->broken = true;
	event_active(&link->read, EV_READ, 0);
}

static void when_writable(evutil_socket_t fd, short what, void *context)
{
	struct ush_link *link = context;

	(void)fd;
	(void)what;
	while (link->first != NULL && !link->broken) {
		struct call *call = link->first;
		int sent = send_request(link, call->request, call->fd);

		if (sent < 0)
			break_soon(link);
		if (sent <= 0)
			break;
		link->first = call->next;
		if (call->next == NULL)
			link->last = &link->first;
		free(call->request);
		call->request = NULL;
	}
	if (link->first != NULL && !link->broken)
		event_add(&link->write, NULL);
}

/* Copies what is to be sent to the end of the queue. ret: false: no room. */
static bool enqueue(
	struct ush_link *link, struct call *call, const struct ush_request *request, int fd)
{
	struct ush_request *copy;

	if (link->free_count == 0 && !slots_grow(link))
		return false;
	copy = malloc(request->size);
	if (copy == NULL || (fd >= 0 && (call->fd = dup(fd)) < 0)) {
		free(copy);
		return false;
	}
	memcpy(copy, request, request->size);
	call->slot = link->free_slot[--link->free_count];
	link->slot[call->slot] = call;
	call->cookie = (uint64_t)++link->generation << 32 | call->slot;
	copy->cookie = call->cookie;
	call->request = copy;
	*link->last = call;
	link->last = &call->next;
	return true;
}

void ush_link_call(struct ush_link *link, const struct ush_request *request, int fd,
	uint32_t timeout_ms, ush_link_done *done, void *context)
{
	struct call *call = calloc(1, sizeof(*call));
	struct timeval wait = after(timeout_ms);

	USH_ASSERT(call != NULL);
	USH_ASSERT(request->size >= sizeof(*request));
	USH_ASSERT(request->size <= USH_CONTROL_BYTES_MAX);
	*call = (struct call){.link = link,
		.done = done,
		.context = context,
		.fd = -1,
		.slot = UINT32_MAX,
		.late = -USH_EBUSY};
	evtimer_assign(&call->timer, link->base, call_late, call);
	if (ush_link_is_up(link) && enqueue(link, call, request, fd)) {
		if (link->first == call)
			when_writable(link->socket, EV_WRITE, link);
	} else {
		call->late = -USH_ENOENT;
		call->next = link->refused;
		link->refused = call;
		wait = (struct timeval){0};
	}
	evtimer_add(&call->timer, &wait);
}

/* ---- life ---------------------------------------------------------------------------------- */

int ush_link_open(struct ush_link **out, const char *path, struct event_base *base,
	void (*changed)(void *context, bool up), void *context, struct ush_message *message)
{
	struct ush_link *link;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		ush_message_set(message, "%s: a socket's path may have at most %zu bytes", path,
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return -USH_EINVAL;
	}
	link = calloc(1, sizeof(*link));
	if (link == NULL) {
		ush_message_set(message, "no memory for the link to usherd");
		return -USH_ENOMEM;
	}
	link->base = base;
	link->path = path;
	link->changed = changed;
	link->context = context;
	link->last = &link->first;
	link->socket = -1;
	link->backoff_ms = BACKOFF_FIRST_MS;
	evtimer_assign(&link->again, base, connect_again, link);
	/* The first attempt is made at once; who listens is told by the loop. */
	if (changed != NULL)
		evtimer_add(&link->again, &(struct timeval){0});
	else if (!link_connect(link))
		connect_later(link);
	*out = link;
	return 0;
}

bool ush_link_is_up(const struct ush_link *link)
{
	return link->socket >= 0 && !link->broken;
}

void ush_link_close(struct ush_link *link)
{
	event_del(&link->again);
	link_disconnect(link);
	answer_all(link, true);
	free(link->slot);
	free(link->free_slot);
	free(link);
}
