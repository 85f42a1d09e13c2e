/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The geometry of an event as JSON for browsers, named by its hash.
 *
 * Owns:  the format (docs/orders.md).
 * Reads: a venue image.
 * Never: who has which seat.
 */
#ifndef USH_ORDERS_MAP_H
#define USH_ORDERS_MAP_H

#include "orders/book.h"

/*
 * out: text: malloced; hash: SHA-256 of it in hexadecimal. Rows and seats of an image without
 * labels are called by their numbers. ret: 0; err: -USH_ECORRUPT, -USH_ENOMEM; message.
 * cost: 10 ms for 20,000 seats (guess).
 */
int map_make(const void *image, size_t image_bytes, char **text, size_t *bytes, char hash[65],
	struct ush_message *message);

#endif /* USH_ORDERS_MAP_H */
