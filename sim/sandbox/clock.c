/* SPDX-License-Identifier: Apache-2.0 */
/* Time and chance: the only places in the sandbox where they come in. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "sandbox.h"

#define ID_LETTERS 24u

int64_t sand_real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t sand_now(const struct sand *sand)
{
	return sand_real_ms() / 1000 + sand->clock_shift_s;
}

void sand_id(char id[SAND_ID_BYTES], const char *prefix)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	unsigned char random[ID_LETTERS];
	size_t at = strlen(prefix);

	USH_ASSERT(at + ID_LETTERS < SAND_ID_BYTES);
	if (RAND_bytes(random, sizeof(random)) != 1)
		sand_die("chance", "RAND_bytes failed");
	memcpy(id, prefix, at);
	for (uint32_t i = 0; i < ID_LETTERS; i++)
		id[at + i] = letters[random[i] % (sizeof(letters) - 1)];
	id[at + ID_LETTERS] = '\0';
}
