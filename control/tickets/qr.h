/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of QR codes: PNG and SVG.
 *
 * Owns:  nothing.
 * Reads: nothing.
 * Never: what a code says.
 */
#ifndef USH_TICKETS_QR_H
#define USH_TICKETS_QR_H

#include "base/base.h"

#define USH_QR_SCALE_MAX 32u

/*
 * Afterwards *png is a picture (malloced) of the text, black on white with a margin of four
 * modules. in: scale: pixels of a module's side, 1 to USH_QR_SCALE_MAX. ret: 0; err: -USH_EINVAL,
 * -USH_ERANGE (too long for a code), -USH_ENOMEM. by: any thread.
 */
int ush_qr_png(const char *text, uint32_t scale, uint8_t **png, size_t *bytes);
/* As ush_qr_png: an element <svg> without a size, to be put into HTML; 0-terminated. */
int ush_qr_svg(const char *text, char **svg);

#endif /* USH_TICKETS_QR_H */
