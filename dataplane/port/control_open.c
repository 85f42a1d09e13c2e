/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the control port begins and ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ring.h>

#include "port/control_internal.h"
#include "port/directory.h"

int ush_control_mailboxes(struct ush_worker *workers, uint32_t count, struct ush_message *message)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct ush_mailbox *box = &workers[i].mailbox;
		char name[32];

		snprintf(name, sizeof(name), "requests%u", i);
		box->requests = rte_ring_create(name, USH_CONTROL_MESSAGES, SOCKET_ID_ANY,
			RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
		snprintf(name, sizeof(name), "replies%u", i);
		box->replies = rte_ring_create(name, USH_CONTROL_MESSAGES, SOCKET_ID_ANY,
			RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
		if (box->requests == NULL || box->replies == NULL) {
			ush_message_set(
				message, "no memory for mailboxes: %s", rte_strerror(rte_errno));
			return -USH_ENOMEM;
		}
	}
	return 0;
}

/* Binds and listens. ret: the socket, or a negative error with a message. */
static int listen_at(const struct ush_control_config *config, struct ush_message *message)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", config->path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		ush_message_set(message,
			"%s: another process serves this socket; stop it, or choose another --run-dir",
			config->path);
		close(fd);
		return -USH_EBUSY;
	}
	unlink(config->path);
	/* Nobody may connect before the mode is set: Linux gives the file of a socket the socket's
	 * own mode. Not by umask, which is the process's: another thread makes segments of the
	 * journal. */
	error = fd < 0 || fchmod(fd, 0) != 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0;
	if (error || chmod(config->path, config->mode) != 0 || listen(fd, 64) != 0) {
		error = errno;
		ush_message_set(message, "%s: cannot listen: %s%s", config->path, strerror(error),
			error == ENOENT ? "; make its directory, or name another with [control] "
					  "socket"
					: ush_directory_mend(error));
		if (fd >= 0)
			close(fd);
		return ush_error_from_errno(error);
	}
	return fd;
}

int ush_control_open(struct ush_control **out, const struct ush_control_config *config,
	struct ush_message *message)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = CONTROL_LISTENER};
	const size_t data_bytes = (size_t)USH_CONTROL_MESSAGES * USH_CONTROL_BYTES_MAX;
	struct ush_control *control;
	uint32_t i;
	int fd;

	fd = listen_at(config, message);
	if (fd < 0)
		return fd;
	control = calloc(1, sizeof(*control) + config->client_max * sizeof(struct client));
	/* Touched only as used: few clients ever have more than one message on its way. */
	if (control != NULL)
		control->data = mmap(NULL, data_bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (control == NULL || control->data == MAP_FAILED) {
		ush_message_set(message, "no memory for the control port");
		free(control);
		close(fd);
		return -USH_ENOMEM;
	}
	control->config = *config;
	control->listener = fd;
	control->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (control->epoll < 0 || epoll_ctl(control->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		ush_message_set(message, "epoll: %s", strerror(errno));
		munmap(control->data, data_bytes);
		free(control);
		close(fd);
		return -USH_ESYSTEM;
	}
	for (i = 0; i < config->client_max; i++)
		control->clients[i].fd = -1;
	for (i = 0; i < USH_CONTROL_MESSAGES; i++) {
		control->messages[i].data = control->data + (size_t)i * USH_CONTROL_BYTES_MAX;
		control_message_free(control, &control->messages[i]);
	}
	config->stats->control = &control->counters;
	*out = control;
	return 0;
}

void ush_control_close(struct ush_control *control)
{
	uint32_t i;

	for (i = 0; i < control->config.client_max; i++)
		if (control->clients[i].fd >= 0)
			control_client_close(control, &control->clients[i]);
	unlink(control->config.path);
	close(control->listener);
	close(control->epoll);
	munmap(control->data, (size_t)USH_CONTROL_MESSAGES * USH_CONTROL_BYTES_MAX);
	free(control);
}
