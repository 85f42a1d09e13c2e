/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words as search knows them, the same for what is stored and what is asked: lower case, Latin
 * letters without their marks, everything that is no letter or digit a blank. So neither FTS5's nor
 * PostgreSQL's parser has anything left to decide.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

/* U+00C0 to U+017F without their marks; a blank: no letter. Two letters stand as one here (the
 * German sharp s, ligatures): see pair_of(). */
static const char plain[] = "aaaaaaaceeeeiiii"  /* C0 */
			    "dnooooo ouuuuyts"  /* D0 */
			    "aaaaaaaceeeeiiii"  /* E0 */
			    "dnooooo ouuuuyty"  /* F0 */
			    "aaaaaaccccccccdd"  /* 100 */
			    "ddeeeeeeeeeegggg"  /* 110 */
			    "gggghhhhiiiiiiii"  /* 120 */
			    "iiiijjkkklllllll"  /* 130 */
			    "lllnnnnnnnnnoooo"  /* 140 */
			    "oooorrrrrrssssss"  /* 150 */
			    "ssttttttuuuuuuuu"  /* 160 */
			    "uuuuwwyyyzzzzzzs"; /* 170 */
static_assert(sizeof(plain) == 0x180 - 0xc0 + 1, "one letter for each");

static const char *pair_of(uint32_t point)
{
	switch (point) {
	case 0xc6:
	case 0xe6:
		return "ae";
	case 0xdf:
		return "ss";
	case 0xde:
	case 0xfe:
		return "th";
	case 0x132:
	case 0x133:
		return "ij";
	case 0x152:
	case 0x153:
		return "oe";
	default:
		return NULL;
	}
}

/* Decodes one code point. ret: its bytes; 1 and U+FFFD for what is no UTF-8. */
static size_t decode(const uint8_t *at, uint32_t *point)
{
	size_t count = at[0] < 0x80   ? 1
		       : at[0] < 0xc2 ? 0
		       : at[0] < 0xe0 ? 2
		       : at[0] < 0xf0 ? 3
				      : 4;

	*point = count == 1 ? at[0] : at[0] & (0x7fu >> count);
	for (size_t i = 1; i < count; i++) {
		if ((at[i] & 0xc0) != 0x80)
			count = 0;
		else
			*point = *point << 6 | (at[i] & 0x3fu);
	}
	if (count == 0)
		*point = 0xfffd;
	return count > 0 ? count : 1;
}

/* ret: a code point in lower case; 0: it is no letter and no digit. Greek and Cyrillic capitals;
 * other scripts pass as they are. */
static uint32_t lower(uint32_t point)
{
	if (point >= 0x391 && point <= 0x3a9)
		return point + 32;
	if (point >= 0x410 && point <= 0x42f)
		return point + 32;
	if (point >= 0x400 && point <= 0x40f)
		return point + 80;
	/* Latin-1 signs, general punctuation to box drawing, CJK punctuation, private use. */
	if (point < 0xc0 || (point >= 0x2000 && point < 0x2c00) ||
		(point >= 0x3000 && point < 0x3040) || (point >= 0xe000 && point < 0xf900) ||
		point >= 0xfe00)
		return 0;
	return point;
}

/* Writes the words of one code point. ret: bytes, 0: a blank. in: room for 4. */
static size_t put(uint32_t point, char *out)
{
	const char *pair = pair_of(point);

	if (pair != NULL) {
		memcpy(out, pair, 2);
		return 2;
	}
	if (point < 0x80) {
		out[0] = (char)(point >= 'A' && point <= 'Z' ? point + 32 : point);
		return (out[0] >= 'a' && out[0] <= 'z') || (out[0] >= '0' && out[0] <= '9');
	}
	if (point >= 0xc0 && point < 0x180) {
		out[0] = plain[point - 0xc0];
		return out[0] != ' ';
	}
	point = lower(point);
	if (point == 0)
		return 0;
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | point >> 12);
	out[1] = (char)(0x80 | (point >> 6 & 0x3f));
	out[2] = (char)(0x80 | (point & 0x3f));
	return 3;
}

char *cat_words(const char *text, size_t most)
{
	const uint8_t *at = (const uint8_t *)text;
	/* A code point of one byte gives at most one, of two at most two, and so on. */
	size_t count = 0, word = 0;
	char *words = malloc(strlen(text) + 8);
	bool blank = false;

	if (words == NULL)
		return NULL;
	while (*at != '\0') {
		uint32_t point;
		char letters[4];
		size_t taken;

		at += decode(at, &point);
		/* Accents that stand alone, and apostrophes within words, are nothing. */
		if ((point >= 0x300 && point < 0x370) || point == '\'' || point == 0x2019)
			continue;
		taken = put(point, letters);
		if (taken == 0) {
			blank = true;
			continue;
		}
		if (blank && count > 0) {
			if (count >= most)
				break;
			word = count;
			words[count++] = ' ';
		}
		blank = false;
		memcpy(words + count, letters, taken);
		count += taken;
		if (count > most) {
			count = word;
			break;
		}
	}
	words[count] = '\0';
	return words;
}

void cat_tag(char kind, const char *words, char tag[CAT_TAG_BYTES])
{
	static const struct ush_key key = {0x636174616c6f6775ull, 0x6520746167730000ull};

	snprintf(tag, CAT_TAG_BYTES, "z%c%016llx", kind,
		(unsigned long long)ush_siphash(&key, words, strlen(words)));
}

char *cat_match(bool postgres, const char *words, bool prefix, const char (*tags)[CAT_TAG_BYTES],
	uint32_t tag_count)
{
	const char *and = postgres ? " & " : " AND ";
	const char *quote = postgres ? "" : "\"";
	/* Each byte may be a word of its own, with 5 bytes between, quotes and a star. */
	size_t count = 0, size = (words != NULL ? strlen(words) * 8 : 0) + 256;
	char *match = malloc(size);

	if (match == NULL)
		return NULL;
	match[0] = '\0';
	for (const char *at = words; at != NULL && *at != '\0';) {
		size_t bytes = strcspn(at, " ");
		bool last = at[bytes] == '\0';
		const char *star = !last || !prefix ? "" : postgres ? ":*" : "*";

		/* Words hold no quotes; in quotes FTS5 reads NOT and the like as words. */
		count += (size_t)snprintf(match + count, size - count, "%s%s%.*s%s%s",
			count > 0 ? and : "", quote, (int)bytes, at, quote, star);
		at += bytes + !last;
	}
	for (uint32_t i = 0; i < tag_count; i++)
		count += (size_t)snprintf(match + count, size - count, "%s%s%s%s",
			count > 0 ? and : "", quote, tags[i], quote);
	return match;
}
