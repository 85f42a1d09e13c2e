/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "journal/archive_internal.h"

size_t zstd_room(size_t bytes)
{
	return ZSTD_compressBound(bytes);
}

int64_t zstd_pack(void *to, size_t room, const void *from, size_t bytes, int level)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t got;

	if (context == NULL)
		return -USH_ENOMEM;
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	got = ZSTD_compress2(context, to, room, from, bytes);
	ZSTD_freeCCtx(context);
	return ZSTD_isError(got) ? -USH_ENOMEM : (int64_t)got;
}

int64_t zstd_unpack(void *to, size_t room, const void *from, size_t bytes)
{
	size_t got = ZSTD_decompress(to, room, from, bytes);

	return ZSTD_isError(got) ? -USH_ECORRUPT : (int64_t)got;
}
