/* SPDX-License-Identifier: Apache-2.0 */
/* Built without libzstd: there is no archive. */
#include "journal/archive_internal.h"

size_t zstd_room(size_t bytes)
{
	return bytes;
}

int64_t zstd_pack(void *to, size_t room, const void *from, size_t bytes, int level)
{
	(void)to;
	(void)room;
	(void)from;
	(void)bytes;
	(void)level;
	return -USH_EUNSUPPORTED;
}

int64_t zstd_unpack(void *to, size_t room, const void *from, size_t bytes)
{
	(void)to;
	(void)room;
	(void)from;
	(void)bytes;
	return -USH_EUNSUPPORTED;
}
