/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: no CSV and no JSON import, however malformed, is read outside its bytes or taken half: each
 * is a list of events or has a fault. Method: the first byte says which of the two the rest is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/internal.h"

int64_t ush_core_now_us(void)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] =
		"external,name,category,starts,venue_name,venue_city,venue_country,"
		"venue_timezone,performers,price_min\n";
	size_t bytes = size > 0 ? size - 1 : 0, begin = 0;
	bool csv = size == 0 || (data[0] & 3) != 0;
	char *text = malloc(bytes + sizeof(head));
	json_t *read, *event;
	size_t i;

	USH_ASSERT(text != NULL);
	/* Most CSV has a header that lets its records be looked at. */
	if (csv && size > 0 && (data[0] & 2) != 0) {
		memcpy(text, head, sizeof(head) - 1);
		begin = sizeof(head) - 1;
	}
	if (bytes > 0)
		memcpy(text + begin, data + 1, bytes);
	/* Exactly as long as it is, so that a sanitizer sees a step too far. */
	text = realloc(text, begin + bytes > 0 ? begin + bytes : 1);
	USH_ASSERT(text != NULL);
	read = cat_import_read(text, begin + bytes, csv);
	USH_ASSERT(read != NULL);
	json_array_foreach(json_object_get(read, "events"), i, event)
	{
		char *words = cat_words(cat_text(event, "name"), 100);

		USH_ASSERT(*cat_text(event, "external") != '\0');
		USH_ASSERT(*cat_text(event, "name") != '\0');
		USH_ASSERT(words != NULL && strlen(words) <= 100);
		free(words);
	}
	json_decref(read);
	free(text);
	return 0;
}
