/* SPDX-License-Identifier: Apache-2.0 */
/* Packs answers with zlib. Level 1: most of what is to be won, for the least time of the loop. */
#include <zlib.h>

#include "http/internal.h"

#define LEVEL 1
#define WINDOW_GZIP (15 + 16) /* zlib's way to ask for a gzip header */

struct evbuffer *ush_http_gzip(struct evbuffer *plain)
{
	const size_t bytes = evbuffer_get_length(plain);
	struct evbuffer *packed = evbuffer_new();
	struct evbuffer_iovec room;
	z_stream stream = {0};
	int ret;

	USH_ASSERT(packed != NULL);
	ret = deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW_GZIP, 8, Z_DEFAULT_STRATEGY);
	USH_ASSERT(ret == Z_OK);
	stream.next_in = evbuffer_pullup(plain, -1);
	stream.avail_in = (uInt)bytes;
	USH_ASSERT(evbuffer_reserve_space(
			   packed, (ev_ssize_t)deflateBound(&stream, (uLong)bytes), &room, 1) == 1);
	stream.next_out = room.iov_base;
	stream.avail_out = (uInt)room.iov_len;
	ret = deflate(&stream, Z_FINISH);
	USH_ASSERT(ret == Z_STREAM_END);
	room.iov_len = stream.total_out;
	deflateEnd(&stream);
	evbuffer_commit_space(packed, &room, 1);
	if (evbuffer_get_length(packed) < bytes)
		return packed;
	evbuffer_free(packed);
	return NULL;
}
