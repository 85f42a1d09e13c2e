/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Venue images as files: STATE/events/<event>-<digest>.ushv, so that a restart finds what the
 * journal's EVENT records name.
 *
 * Owns:  the directory STATE/events.
 * Reads: file descriptors passed by clients.
 * Never: what an image means.
 */
#ifndef USH_IMAGE_H
#define USH_IMAGE_H

#include "base/base.h"

/* Largest image taken: about five times an event of 65,536 rows with long labels. guess */
#define USH_IMAGE_BYTES_MAX ((size_t)64 << 20)

struct ush_images {
	char directory[512];
	/* The image that ush_images_find gave last. */
	void *found;
};

/* Makes STATE/events. ret: 0; err: -USH_EACCES, -USH_EROFS, -USH_ENOSPC with a message. */
int ush_images_open(
	struct ush_images *images, const char *state_directory, struct ush_message *message);

void ush_images_close(struct ush_images *images);

/*
 * Reads a regular file or memfd whole.
 * out: image: to be freed by the caller. ret: 0; err: -USH_EINVAL (not a file, empty, too large),
 *      -USH_EIO, -USH_ENOMEM with a message.
 */
int ush_image_read(int fd, void **image, size_t *bytes, struct ush_message *message);

/* Writes an image so that it survives power loss: temporary name, sync, rename, sync directory.
 * err: -USH_ENOSPC, -USH_EIO, ... with a message. */
int ush_images_store(const struct ush_images *images, uint32_t event, uint64_t digest,
	const void *image, size_t bytes, struct ush_message *message);

/* As ush_engine_image_find: reads an image and checks its digest; it stays valid until the next
 * call. err: -USH_ENOENT, -USH_ECORRUPT with a message. */
int ush_images_find(void *images, uint32_t event, uint64_t digest, const void **image,
	size_t *bytes, struct ush_message *message);

#endif /* USH_IMAGE_H */
