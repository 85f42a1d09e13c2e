/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand in a name, and which currencies there are. */
#include <string.h>

#include "catalogue/venue_read.h"

/* Decodes one code point of valid UTF-8. */
static uint32_t code_point(const uint8_t **p)
{
	uint32_t c = *(*p)++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more > 0)
		c &= 0x3fu >> more;
	for (; more > 0 && **p != 0; more--)
		c = c << 6 | (*(*p)++ & 0x3fu);
	return c;
}

/* Controls, line and paragraph separators, and marks that change the direction of later text:
 * none of them belongs on a ticket, and the last can make one label look like another. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029 || c == 0x200e ||
	       c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
	       c == 0xfeff;
}

const char *venue_text_fault(const char *text, size_t bytes_max)
{
	size_t bytes = strlen(text);
	const uint8_t *p = (const uint8_t *)text;

	if (bytes == 0)
		return "is empty";
	if (bytes > bytes_max)
		return "is too long";
	while (*p != 0) {
		if (is_control(code_point(&p)))
			return "has a control character";
	}
	if (text[0] == ' ' || text[bytes - 1] == ' ')
		return "starts or ends with a blank";
	return NULL;
}

/* src: ISO 4217:2015 list one, active codes that are money, and the test code XTS. */
static const char currencies[] =
	"AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN "
	"BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD "
	"FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY "
	"KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP "
	"MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR "
	"RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT "
	"TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF XTS "
	"YER ZAR ZMW ZWG ";
static const char currencies_0[] =
	"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF ";
static const char currencies_3[] = "BHD IQD JOD KWD LYD OMR TND ";

static bool code_in(const char *code, const char *list)
{
	for (; *list != '\0'; list += 4) {
		if (memcmp(code, list, 3) == 0)
			return true;
	}
	return false;
}

int venue_currency_digits(const char *code)
{
	if (strlen(code) != 3 || !code_in(code, currencies))
		return -1;
	if (code_in(code, currencies_0))
		return 0;
	return code_in(code, currencies_3) ? 3 : 2;
}
