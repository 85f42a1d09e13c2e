/* SPDX-License-Identifier: Apache-2.0 */
/* Plain UDP sockets: no privileges, no DPDK; some hundred thousand requests a second. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load_transport.h"

#define SOCKETS_MAX 256u
#define DATAGRAM_BYTES 2048u
/* Room for the answers of some milliseconds; the kernel may grant less. */
#define SOCKET_BUFFER_BYTES (4 << 20)

struct load_udp {
	struct load_transport base;
	int epoll;
	uint32_t socket_count;
	uint32_t turn;
	int sockets[SOCKETS_MAX];
	struct mmsghdr send_message[LOAD_BURST];
	struct iovec send_piece[LOAD_BURST][2];
	struct mmsghdr receive_message[LOAD_BURST];
	struct iovec receive_piece[LOAD_BURST];
	uint8_t data[LOAD_BURST][DATAGRAM_BYTES] USH_ALIGNED(64);
};

int load_address_parse(struct load_address *address, const char *text, uint16_t port_default,
	struct ush_message *message)
{
	char host[INET6_ADDRSTRLEN + 1];
	const char *begin = text, *end;
	unsigned long port = port_default;
	char *rest;

	memset(address, 0, sizeof(*address));
	if (*text == '[') {
		begin = text + 1;
		end = strchr(begin, ']');
		rest = end != NULL ? (char *)(uintptr_t)end + 1 : NULL;
	} else {
		/* More than one colon: an IPv6 address without a port. */
		end = strchr(begin, ':');
		if (end == NULL || strchr(end + 1, ':') != NULL)
			end = begin + strlen(begin);
		rest = (char *)(uintptr_t)end;
	}
	if (end == NULL || (size_t)(end - begin) >= sizeof(host))
		goto bad;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	if (*rest == ':')
		port = strtoul(rest + 1, &rest, 10);
	if (*rest != '\0' || port == 0 || port > UINT16_MAX)
		goto bad;
	address->port = (uint16_t)port;
	if (inet_pton(AF_INET, host, address->ip) == 1)
		address->family = 4;
	else if (inet_pton(AF_INET6, host, address->ip) == 1)
		address->family = 6;
	else
		goto bad;
	return 0;
bad:
	ush_message_set(
		message, "`%s`: want ADDRESS:PORT, like 10.77.0.1:7447 or [fd77::1]:7447", text);
	return -USH_EPARSE;
}

static uint32_t udp_send(
	struct load_transport *transport, const struct load_packet *packets, uint32_t count)
{
	struct load_udp *udp = (struct load_udp *)transport;
	int sent;

	for (uint32_t i = 0; i < count; i++) {
		udp->send_piece[i][0].iov_base = (void *)(uintptr_t)packets[i].head;
		udp->send_piece[i][0].iov_len = packets[i].head_bytes;
		udp->send_piece[i][1].iov_base = (void *)(uintptr_t)packets[i].tail;
		udp->send_piece[i][1].iov_len = packets[i].tail_bytes;
		udp->send_message[i].msg_hdr = (struct msghdr){.msg_iov = udp->send_piece[i],
			.msg_iovlen = packets[i].tail_bytes != 0 ? 2 : 1};
	}
	/* Each batch leaves by the next socket: whoever spreads flows over cores sees them all. */
	udp->turn = udp->turn + 1 == udp->socket_count ? 0 : udp->turn + 1;
	sent = sendmmsg(udp->sockets[udp->turn], udp->send_message, count, 0);
	if (sent < 0) {
		/* ECONNREFUSED tells of an earlier datagram that nobody took; this batch has not
		 * left and is tried again. */
		if (errno == ECONNREFUSED)
			transport->up = false;
		return 0;
	}
	transport->sent_packets += (uint32_t)sent;
	return (uint32_t)sent;
}

static uint32_t udp_receive(struct load_transport *transport, struct load_received *received)
{
	struct load_udp *udp = (struct load_udp *)transport;
	struct epoll_event ready;
	int got;

	if (epoll_wait(udp->epoll, &ready, 1, 0) <= 0)
		return 0;
	got = recvmmsg(
		udp->sockets[ready.data.u32], udp->receive_message, LOAD_BURST, MSG_DONTWAIT, NULL);
	if (got <= 0)
		return 0;
	for (int i = 0; i < got; i++) {
		received[i].payload = udp->data[i];
		received[i].bytes = udp->receive_message[i].msg_len;
	}
	transport->outages += !transport->up;
	transport->up = true;
	transport->received_packets += (uint32_t)got;
	return (uint32_t)got;
}

static void udp_wait(struct load_transport *transport, uint64_t ns)
{
	struct load_udp *udp = (struct load_udp *)transport;
	const struct timespec time = {.tv_nsec = (long)ush_min64(ns, 999999999)};
	struct epoll_event ready;

	if (ns != 0)
		(void)epoll_pwait2(udp->epoll, &ready, 1, &time, NULL);
}

static void udp_tend(struct load_transport *transport, uint64_t now_ns)
{
	(void)transport;
	(void)now_ns;
}

static void udp_close(struct load_transport *transport)
{
	struct load_udp *udp = (struct load_udp *)transport;

	for (uint32_t i = 0; i < udp->socket_count; i++)
		close(udp->sockets[i]);
	if (udp->epoll >= 0)
		close(udp->epoll);
	free(udp);
}

/* Opens one socket, connected: so only the target's datagrams come in. ret: 0 or errno. */
static int socket_add(struct load_udp *udp, const struct load_address *to)
{
	const int buffer_bytes = SOCKET_BUFFER_BYTES;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(to->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = udp->socket_count};
	int fd, result;

	memcpy(&v4.sin_addr, to->ip, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, to->ip, sizeof(v6.sin6_addr));
	fd = socket(
		to->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	udp->sockets[udp->socket_count++] = fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
	if (to->family == 4)
		result = connect(fd, (const struct sockaddr *)&v4, sizeof(v4));
	else
		result = connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
	if (result != 0 || epoll_ctl(udp->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return errno;
	return 0;
}

int load_udp_open(struct load_transport **transport, const struct load_transport_options *options,
	struct ush_message *message)
{
	struct load_udp *udp;
	struct load_address to;
	int error = load_address_parse(&to, options->udp, 7447, message);

	if (error != 0)
		return error;
	udp = aligned_alloc(64, sizeof(*udp));
	if (udp == NULL)
		return -USH_ENOMEM;
	memset(udp, 0, sizeof(*udp));
	udp->base = (struct load_transport){.send = udp_send,
		.receive = udp_receive,
		.wait = udp_wait,
		.tend = udp_tend,
		.close = udp_close,
		.up = true};
	for (uint32_t i = 0; i < LOAD_BURST; i++) {
		udp->receive_piece[i] = (struct iovec){udp->data[i], DATAGRAM_BYTES};
		udp->receive_message[i].msg_hdr =
			(struct msghdr){.msg_iov = &udp->receive_piece[i], .msg_iovlen = 1};
	}
	udp->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (uint64_t i = 0; i < ush_min64(options->flows, SOCKETS_MAX); i++) {
		int failed = socket_add(udp, &to);

		if (failed != 0) {
			ush_message_set(
				message, "UDP socket to %s: %s", options->udp, strerror(failed));
			udp_close(&udp->base);
			return ush_error_from_errno(failed);
		}
	}
	*transport = &udp->base;
	return 0;
}
