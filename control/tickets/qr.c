/* SPDX-License-Identifier: Apache-2.0 */
/* The PNG is as small as the format allows: one bit a pixel, three chunks. */
#include <errno.h>
#include <qrencode.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tickets/qr.h"

/* ISO 18004 asks for a margin of four modules. */
#define MARGIN 4u

/* ret: the code of a text, level M, upper case in alphanumeric mode; err: as ush_qr_png. */
static int encode(const char *text, QRcode **code)
{
	*code = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
	if (*code != NULL)
		return 0;
	return errno == ENOMEM ? -USH_ENOMEM : -USH_ERANGE;
}

static bool dark(const QRcode *code, uint32_t x, uint32_t y)
{
	uint32_t width = (uint32_t)code->width;

	if (x < MARGIN || y < MARGIN || x >= MARGIN + width || y >= MARGIN + width)
		return false;
	return (code->data[(y - MARGIN) * width + x - MARGIN] & 1) != 0;
}

static void put32(uint8_t *at, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* ret: where the next chunk goes. */
static uint8_t *chunk(uint8_t *at, const char *type, const void *data, uint32_t bytes)
{
	put32(at, bytes);
	memcpy(at + 4, type, 4);
	if (bytes > 0)
		memcpy(at + 8, data, bytes);
	put32(at + 8 + bytes, (uint32_t)crc32(0, at + 4, bytes + 4));
	return at + 12 + bytes;
}

/* Rows of pixels: each a byte that names its filter (none), then one bit a pixel, 1 is white. */
static void draw(const QRcode *code, uint32_t scale, uint8_t *rows, uint32_t row_bytes)
{
	uint32_t side = (uint32_t)code->width + 2 * MARGIN;

	for (uint32_t y = 0; y < side * scale; y++) {
		uint8_t *row = rows + (size_t)y * row_bytes;

		for (uint32_t x = 0; x < side * scale; x++) {
			if (!dark(code, x / scale, y / scale))
				row[1 + x / 8] |= (uint8_t)(0x80u >> x % 8);
		}
	}
}

int ush_qr_png(const char *text, uint32_t scale, uint8_t **png, size_t *bytes)
{
	static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	uint8_t head[13] = {[8] = 1};
	uint8_t *rows, *packed, *out, *at;
	uint32_t side, row_bytes;
	uLongf packed_bytes;
	QRcode *code;
	int result;

	if (scale == 0 || scale > USH_QR_SCALE_MAX)
		return -USH_EINVAL;
	result = encode(text, &code);
	if (result != 0)
		return result;
	side = ((uint32_t)code->width + 2 * MARGIN) * scale;
	row_bytes = 1 + (side + 7) / 8;
	packed_bytes = compressBound((uLong)side * row_bytes);
	rows = calloc(side, row_bytes);
	packed = malloc(packed_bytes);
	out = malloc(packed_bytes + 128);
	result = -USH_ENOMEM;
	if (rows != NULL && packed != NULL && out != NULL) {
		draw(code, scale, rows, row_bytes);
		result = compress2(packed, &packed_bytes, rows, (uLong)side * row_bytes, 9) == Z_OK
				 ? 0
				 : -USH_ENOMEM;
	}
	QRcode_free(code);
	free(rows);
	if (result == 0) {
		put32(head, side);
		put32(head + 4, side);
		memcpy(out, magic, sizeof(magic));
		at = chunk(out + sizeof(magic), "IHDR", head, sizeof(head));
		at = chunk(at, "IDAT", packed, (uint32_t)packed_bytes);
		at = chunk(at, "IEND", NULL, 0);
		*png = out;
		*bytes = (size_t)(at - out);
	} else {
		free(out);
	}
	free(packed);
	return result;
}

/* A text that grows to at most `room`. */
struct text {
	char *data;
	size_t at;
	size_t room;
};

static void add(struct text *text, const char *format, ...) USH_PRINTF(2, 3);
static void add(struct text *text, const char *format, ...)
{
	va_list values;
	int count;

	va_start(values, format);
	count = vsnprintf(text->data + text->at, text->room - text->at, format, values);
	va_end(values);
	USH_ASSERT(count >= 0 && (size_t)count < text->room - text->at);
	text->at += (size_t)count;
}

int ush_qr_svg(const char *text, char **svg)
{
	struct text out = {0};
	uint32_t side;
	QRcode *code;
	int result = encode(text, &code);

	if (result != 0)
		return result;
	side = (uint32_t)code->width + 2 * MARGIN;
	/* A run of dark modules takes at most 24 characters, and there is one for two modules. */
	out.room = 512 + (size_t)side * side * 12;
	out.data = malloc(out.room);
	if (out.data == NULL) {
		QRcode_free(code);
		return -USH_ENOMEM;
	}
	add(&out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" role=\"img\" "
		"aria-label=\"QR code\" shape-rendering=\"crispEdges\">"
		"<path fill=\"#fff\" d=\"M0 0h%uv%uH0z\"/><path d=\"",
		side, side, side, side);
	for (uint32_t y = 0; y < side; y++) {
		for (uint32_t x = 0; x < side; x++) {
			uint32_t begin = x;

			while (x < side && dark(code, x, y))
				x++;
			if (x > begin)
				add(&out, "M%u %uh%uv1H%uz", begin, y, x - begin, begin);
		}
	}
	add(&out, "\"/></svg>");
	QRcode_free(code);
	*svg = out.data;
	return 0;
}
