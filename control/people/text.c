/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, numbers and names as people spell them. */
#include <stdio.h>
#include <string.h>

#include "people/internal.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Letters, digits, and hyphens and dots between them; at least one dot. */
static bool domain_is_good(const char *text)
{
	bool dot = false;

	for (size_t i = 0; text[i] != '\0'; i++) {
		bool inside = i > 0 && text[i + 1] != '\0' && text[i - 1] != '.';

		if (is_word(text[i]))
			continue;
		if ((text[i] != '-' && text[i] != '.') || !inside)
			return false;
		if (text[i] == '.' && text[i - 1] == '-')
			return false;
		dot = dot || text[i] == '.';
	}
	return dot;
}

bool people_mail_read(const char *text, char mail[PEOPLE_MAIL_BYTES])
{
	static const char others[] = "!#$%&'*+-/=?^_`{|}~.";
	size_t bytes = strlen(text);
	char *at;

	if (bytes < 6 || bytes >= PEOPLE_MAIL_BYTES)
		return false;
	for (size_t i = 0; i <= bytes; i++)
		mail[i] = lower(text[i]);
	at = strchr(mail, '@');
	if (at == NULL || at == mail || at - mail > 64 || at[-1] == '.' || mail[0] == '.')
		return false;
	for (const char *c = mail; c < at; c++) {
		if (!is_word(*c) && strchr(others, *c) == NULL)
			return false;
		if (*c == '.' && c[1] == '.')
			return false;
	}
	return domain_is_good(at + 1);
}

bool people_phone_is_good(const char *text)
{
	size_t digits = strspn(text + (text[0] == '+'), "0123456789");

	return text[0] == '+' && digits >= 7 && digits <= 15 && text[1] != '0' &&
	       text[1 + digits] == '\0';
}

static const char *const roles[] = {"none", "buyer", "promoter", "operator", "service", "schedule"};

const char *people_role_name(uint32_t role)
{
	return role < sizeof(roles) / sizeof(roles[0]) ? roles[role] : "unknown";
}

enum ush_role people_role_read(const char *name)
{
	for (uint32_t i = USH_ROLE_BUYER; i <= USH_ROLE_SERVICE; i++)
		if (strcmp(name, roles[i]) == 0)
			return (enum ush_role)i;
	return USH_ROLE_NONE;
}

void people_account_name(uint64_t account, char name[24])
{
	snprintf(name, 24, "u_%llu", (unsigned long long)account);
}
