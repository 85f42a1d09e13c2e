/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client_udp.h"

#define SEND_AGAIN_MS 200

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* "10.77.0.1:7447", "[fd77::1]:7447", "box:7447", "box" -> host and port. ret: false if neither. */
static bool split(const char *where, char host[256], char port[16])
{
	const char *colon = strrchr(where, ':');
	size_t size = colon != NULL ? (size_t)(colon - where) : strlen(where);

	snprintf(port, 16, "%u", USH_UDP_PORT);
	if (*where == '[') {
		const char *end = strchr(where, ']');

		if (end == NULL)
			return false;
		colon = end[1] == ':' ? end + 1 : NULL;
		where++;
		size = (size_t)(end - where);
	}
	if (size == 0 || size >= 256)
		return false;
	memcpy(host, where, size);
	host[size] = '\0';
	if (colon != NULL)
		snprintf(port, 16, "%.15s", colon + 1);
	return true;
}

int client_udp_open(struct client_udp *udp, const char *where, struct ush_message *message)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
	struct addrinfo *found = NULL;
	char host[256], port[16];
	int error;

	if (!split(where, host, port)) {
		ush_message_set(message, "%s: want HOST:PORT, like 10.77.0.1:7447", where);
		return -USH_EPARSE;
	}
	error = getaddrinfo(host, port, &hints, &found);
	if (error != 0) {
		ush_message_set(message, "%s: %s", where, gai_strerror(error));
		return -USH_ENOENT;
	}
	udp->socket = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp->socket < 0 || connect(udp->socket, found->ai_addr, found->ai_addrlen) != 0) {
		error = errno;
		ush_message_set(message, "%s: %s", where, strerror(error));
		client_udp_close(udp);
		freeaddrinfo(found);
		return -USH_ESYSTEM;
	}
	freeaddrinfo(found);
	return 0;
}

int client_udp_call(struct client_udp *udp, struct ush_request *request, uint32_t timeout_ms,
	void *reply, size_t *reply_bytes, struct ush_message *message)
{
	const struct ush_reply *base = reply;
	int64_t begin = monotonic_ms(), sent = -SEND_AGAIN_MS, now;

	request->cookie++;
	while ((now = monotonic_ms() - begin) < (int64_t)timeout_ms) {
		struct pollfd ready = {.fd = udp->socket, .events = POLLIN};
		ssize_t got;

		if (now - sent >= SEND_AGAIN_MS) {
			/* Refusals and full buffers pass; time decides. */
			(void)send(udp->socket, request, request->size, 0);
			sent = now;
		}
		if (poll(&ready, 1, SEND_AGAIN_MS) <= 0)
			continue;
		got = recv(udp->socket, reply, USH_CONTROL_BYTES_MAX, MSG_DONTWAIT);
		if (got < (ssize_t)sizeof(*base) || base->magic != USH_REPLY_MAGIC ||
			base->cookie != request->cookie || base->size != got) {
			const struct timespec pause = {.tv_nsec = 1000000};

			if (got < 0)
				nanosleep(&pause, NULL);
			continue;
		}
		*reply_bytes = (size_t)got;
		return 0;
	}
	ush_message_set(message,
		"no answer within %u ms; is usherd running, and is this a way to its address?",
		timeout_ms);
	return -USH_EBUSY;
}

void client_udp_close(struct client_udp *udp)
{
	if (udp->socket >= 0)
		close(udp->socket);
	udp->socket = -1;
}
