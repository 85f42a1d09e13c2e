/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail, one after another, on a thread of its own: libcurl waits within the transfer for the
 * relay's last word (and for its answer to QUIT), which would hold up the loop for as long as that
 * takes.
 *
 * The thread begins with the first mail. Each mail has a connection of its own: one that was kept
 * would be ended with QUIT by curl at a time when nobody can stop that.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "fetch/call.h"

struct fetch_smtp {
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	struct call *waiting, **waiting_end;
	struct call *ended, **ended_end;
	bool stopping;
	bool running; /* the thread was made; the loop's alone */
	int bell;
	struct event *bell_event;
};

static void append(struct call ***end, struct call *call)
{
	call->next = NULL;
	**end = call;
	*end = &call->next;
}

static struct call *take_all(struct call **list, struct call ***end)
{
	struct call *all = *list;

	*list = NULL;
	*end = list;
	return all;
}

static int on_progress(
	void *context, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct fetch_smtp *smtp = context;
	bool stopping;

	(void)down_all;
	(void)down;
	(void)up_all;
	(void)up;
	pthread_mutex_lock(&smtp->lock);
	stopping = smtp->stopping;
	pthread_mutex_unlock(&smtp->lock);
	return stopping;
}

static CURLcode hand_over(struct fetch_smtp *smtp, struct call *call)
{
	curl_easy_setopt(call->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(call->curl, CURLOPT_XFERINFODATA, smtp);
	curl_easy_setopt(call->curl, CURLOPT_NOPROGRESS, 0l);
	return curl_easy_perform(call->curl);
}

static void *run(void *context)
{
	struct fetch_smtp *smtp = context;
	uint64_t one = 1;

	pthread_mutex_lock(&smtp->lock);
	while (!smtp->stopping) {
		struct call *call = smtp->waiting;

		if (call == NULL) {
			pthread_cond_wait(&smtp->more, &smtp->lock);
			continue;
		}
		smtp->waiting = call->next;
		if (smtp->waiting == NULL)
			smtp->waiting_end = &smtp->waiting;
		pthread_mutex_unlock(&smtp->lock);
		call->code = hand_over(smtp, call);
		pthread_mutex_lock(&smtp->lock);
		append(&smtp->ended_end, call);
		USH_ASSERT(write(smtp->bell, &one, sizeof(one)) == sizeof(one));
	}
	pthread_mutex_unlock(&smtp->lock);
	return NULL;
}

static void end_all(struct call *call)
{
	while (call != NULL) {
		struct call *next = call->next;

		fetch_call_end(call, call->code);
		call = next;
	}
}

static void on_bell(evutil_socket_t fd, short what, void *context)
{
	struct fetch_smtp *smtp = context;
	struct call *all;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	pthread_mutex_lock(&smtp->lock);
	all = take_all(&smtp->ended, &smtp->ended_end);
	pthread_mutex_unlock(&smtp->lock);
	end_all(all);
}

int fetch_smtp_open(struct fetch_smtp **smtp, struct event_base *base, struct ush_message *message)
{
	struct fetch_smtp *made = calloc(1, sizeof(*made));

	USH_ASSERT(made != NULL);
	made->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made->bell < 0) {
		ush_message_set(message, "no eventfd for the mail thread");
		free(made);
		return -USH_ESYSTEM;
	}
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->more, NULL);
	made->waiting_end = &made->waiting;
	made->ended_end = &made->ended;
	made->bell_event = event_new(base, made->bell, EV_READ | EV_PERSIST, on_bell, made);
	USH_ASSERT(made->bell_event != NULL);
	*smtp = made;
	return 0;
}

void fetch_smtp_put(struct fetch_smtp *smtp, struct call *call)
{
	if (!smtp->running) {
		/* Only now, for it keeps the loop from ending by itself. */
		event_add(smtp->bell_event, NULL);
		smtp->running = pthread_create(&smtp->thread, NULL, run, smtp) == 0;
		USH_ASSERT(smtp->running);
	}
	pthread_mutex_lock(&smtp->lock);
	append(&smtp->waiting_end, call);
	pthread_cond_signal(&smtp->more);
	pthread_mutex_unlock(&smtp->lock);
}

void fetch_smtp_close(struct fetch_smtp *smtp)
{
	struct call *call;

	pthread_mutex_lock(&smtp->lock);
	smtp->stopping = true;
	pthread_cond_signal(&smtp->more);
	pthread_mutex_unlock(&smtp->lock);
	if (smtp->running)
		pthread_join(smtp->thread, NULL);
	end_all(take_all(&smtp->ended, &smtp->ended_end));
	for (call = smtp->waiting; call != NULL; call = call->next)
		call->code = CURLE_ABORTED_BY_CALLBACK;
	end_all(take_all(&smtp->waiting, &smtp->waiting_end));
	event_free(smtp->bell_event);
	close(smtp->bell);
	pthread_cond_destroy(&smtp->more);
	pthread_mutex_destroy(&smtp->lock);
	free(smtp);
}
