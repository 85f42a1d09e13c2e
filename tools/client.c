/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

const char *ush_client_default_path(void)
{
	static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *chosen = getenv("USHER_SOCKET");
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (chosen != NULL && chosen[0] != '\0')
		return chosen;
	if (geteuid() == 0)
		return "/run/usher/control.sock";
	if (run != NULL && run[0] == '/')
		snprintf(path, sizeof(path), "%s/usher/control.sock", run);
	else
		snprintf(path, sizeof(path), "/tmp/usher-%u/control.sock", (unsigned)geteuid());
	return path;
}

/* Says why the connection failed and how to mend it. */
static int fail_connect(int error, const char *path, struct ush_message *message)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		ush_message_set(message,
			"%s: %s; is usherd running? start it, or name its control socket with "
			"--socket or USHER_SOCKET",
			path, error == ENOENT ? "no such socket" : "nobody listens");
		return -USH_ENOENT;
	case EACCES:
	case EPERM:
		ush_message_set(
			message, "%s: permission denied; run as usherd's user or as root", path);
		return -USH_EACCES;
	default:
		ush_message_set(message, "%s: cannot connect: %s", path, strerror(error));
		return -USH_ESYSTEM;
	}
}

int ush_client_open(struct ush_client *client, const char *path, struct ush_message *message)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		ush_message_set(message, "%s: a socket's path may have at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
		return -USH_ESYSTEM;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ush_message_set(message, "cannot make a socket: %s", strerror(errno));
		return -USH_ESYSTEM;
	}
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		error = errno;
		close(fd);
		return fail_connect(error, path, message);
	}
	client->socket = fd;
	return 0;
}

void ush_client_request(struct ush_request *request, enum ush_op op)
{
	memset(request, 0, sizeof(*request));
	request->magic = USH_REQUEST_MAGIC;
	request->version = USH_VERSION;
	request->op = (uint8_t)op;
	request->size = sizeof(*request);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits until the socket is ready. ret: 0; err: -USH_EBUSY on timeout, -USH_ESYSTEM. */
static int wait_for(
	const struct ush_client *client, short events, uint64_t end_ms, struct ush_message *message)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = client->socket, .events = events};
		uint64_t now = now_ms();
		int ready = poll(&poll_fd, 1, now < end_ms ? (int)(end_ms - now) : 0);

		if (ready > 0)
			return 0;
		if (ready == 0) {
			ush_message_set(message,
				"usherd did not answer in time; whether it acted is not known, "
				"so look before you repeat");
			return -USH_EBUSY;
		}
		if (errno != EINTR) {
			ush_message_set(message, "control socket: %s", strerror(errno));
			return -USH_ESYSTEM;
		}
	}
}

static int fail_gone(int error, struct ush_message *message)
{
	if (error == 0 || error == EPIPE || error == ECONNRESET)
		ush_message_set(message,
			"usherd closed the connection; its log says why, or it has stopped");
	else
		ush_message_set(message, "control socket: %s", strerror(error));
	return -USH_ESYSTEM;
}

static int send_request(const struct ush_client *client, const struct ush_request *request, int fd,
	uint64_t end_ms, struct ush_message *message)
{
	struct iovec part = {(void *)(uintptr_t)request, request->size};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = {0};
	struct msghdr envelope = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		envelope.msg_control = rights.bytes;
		envelope.msg_controllen = sizeof(rights.bytes);
		rights.header.cmsg_level = SOL_SOCKET;
		rights.header.cmsg_type = SCM_RIGHTS;
		rights.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
	}
	for (;;) {
		ssize_t sent = sendmsg(client->socket, &envelope, MSG_NOSIGNAL | MSG_DONTWAIT);
		int ret;

		if (sent == (ssize_t)request->size)
			return 0;
		if (sent >= 0 || (errno != EAGAIN && errno != EINTR))
			return fail_gone(sent >= 0 ? EPIPE : errno, message);
		if (errno == EAGAIN && (ret = wait_for(client, POLLOUT, end_ms, message)) != 0)
			return ret;
	}
}

/* Checks what came as a reply to `request`. ret: 0; err: -USH_EPARSE. */
static int check_reply(const struct ush_request *request, const void *bytes, size_t count,
	struct ush_message *message)
{
	struct ush_reply reply;

	if (count < sizeof(reply)) {
		ush_message_set(
			message, "a reply of %zu bytes is too short; is that usherd?", count);
		return -USH_EPARSE;
	}
	memcpy(&reply, bytes, sizeof(reply));
	if (reply.magic != USH_REPLY_MAGIC || reply.size != count) {
		ush_message_set(message, "a reply that does not look like one; is that usherd?");
		return -USH_EPARSE;
	}
	if (reply.version != USH_VERSION || reply.op != request->op) {
		ush_message_set(message,
			"a reply of version %u to operation %u; this program speaks version %u",
			reply.version, reply.op, USH_VERSION);
		return -USH_EPARSE;
	}
	return 0;
}

int ush_client_call(struct ush_client *client, struct ush_request *request, int fd,
	uint32_t timeout_ms, void *reply, size_t *reply_bytes, struct ush_message *message)
{
	/* Calls of one process differ, so that a late reply to an earlier call is recognised. */
	static uint64_t last_cookie;
	uint64_t end_ms = now_ms() + timeout_ms;
	int ret;

	USH_ASSERT(request->size >= sizeof(*request));
	USH_ASSERT(request->size <= USH_CONTROL_BYTES_MAX);
	if (last_cookie == 0)
		last_cookie = ush_mix64((uint64_t)getpid() << 32 ^ now_ms());
	request->cookie = ++last_cookie;
	ret = send_request(client, request, fd, end_ms, message);
	while (ret == 0) {
		struct ush_reply head;
		ssize_t got;

		if ((ret = wait_for(client, POLLIN, end_ms, message)) != 0)
			break;
		got = recv(client->socket, reply, USH_CONTROL_BYTES_MAX, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return fail_gone(got < 0 ? errno : 0, message);
		if ((size_t)got >= sizeof(head)) {
			memcpy(&head, reply, sizeof(head));
			if (head.magic == USH_REPLY_MAGIC && head.cookie != request->cookie)
				continue;
		}
		ret = check_reply(request, reply, (size_t)got, message);
		if (ret == 0) {
			*reply_bytes = (size_t)got;
			return 0;
		}
	}
	return ret;
}

const char *ush_client_text(void *reply, size_t reply_bytes)
{
	uint8_t *bytes = reply;
	size_t at = sizeof(struct ush_reply);

	while (at + sizeof(struct ush_extension_header) <= reply_bytes) {
		struct ush_extension_header header;
		size_t body;

		memcpy(&header, bytes + at, sizeof(header));
		if (header.size < sizeof(header) || header.size > reply_bytes - at)
			return NULL;
		body = header.size - sizeof(header);
		if (header.type == USH_EXTENSION_TEXT) {
			/* A text that fills its extension is moved over the header to make room. */
			uint8_t *text = bytes + at;

			if (header.value > body)
				return NULL;
			memmove(text, text + sizeof(header), header.value);
			text[header.value] = '\0';
			return (const char *)text;
		}
		at += header.size;
	}
	return NULL;
}

void ush_client_close(struct ush_client *client)
{
	close(client->socket);
	client->socket = -1;
}
