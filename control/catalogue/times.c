/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 3339 both ways. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "catalogue/internal.h"

/* Reads exactly `count` digits. ret: the number, -1: something else is there. */
static int digits(const char **at, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value;
}

static bool letter(const char **at, const char *any)
{
	if (**at == '\0' || strchr(any, **at) == NULL)
		return false;
	(*at)++;
	return true;
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* A fraction of a second is dropped beyond microseconds. */
static bool fraction(const char **at, int64_t *us)
{
	int64_t unit = 100000;

	*us = 0;
	if (**at != '.')
		return true;
	(*at)++;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*us += (**at - '0') * unit;
	return true;
}

/* ret: whether a zone is there; *seconds: how far it is ahead of UTC. */
static bool zone(const char **at, int64_t *seconds)
{
	int sign, hours, minutes;

	*seconds = 0;
	if (letter(at, "Zz"))
		return true;
	sign = **at == '-' ? -1 : 1;
	if (!letter(at, "+-"))
		return false;
	hours = digits(at, 2);
	if (hours < 0 || hours > 23 || !letter(at, ":"))
		return false;
	minutes = digits(at, 2);
	*seconds = sign * (hours * 3600 + minutes * 60);
	return minutes >= 0 && minutes <= 59;
}

bool cat_time_parse(const char *text, int64_t *us)
{
	const char *at = text;
	struct tm tm = {0};
	int64_t part, ahead;
	int year = digits(&at, 4), month, day;

	if (year < 1970 || !letter(&at, "-"))
		return false;
	month = digits(&at, 2);
	if (month < 1 || month > 12 || !letter(&at, "-"))
		return false;
	day = digits(&at, 2);
	if (day < 1 || day > days_of(year, month) || !letter(&at, "Tt "))
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	tm.tm_hour = digits(&at, 2);
	if (tm.tm_hour < 0 || tm.tm_hour > 23 || !letter(&at, ":"))
		return false;
	tm.tm_min = digits(&at, 2);
	if (tm.tm_min < 0 || tm.tm_min > 59 || !letter(&at, ":"))
		return false;
	tm.tm_sec = digits(&at, 2);
	if (tm.tm_sec < 0 || tm.tm_sec > 59 || !fraction(&at, &part) || !zone(&at, &ahead) ||
		*at != '\0')
		return false;
	*us = ((int64_t)timegm(&tm) - ahead) * 1000000 + part;
	return *us >= 0;
}

void cat_time_print(int64_t us, char text[24])
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
