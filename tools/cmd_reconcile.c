/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher reconcile: the provider's books, payments and refunds, and orders with their seats, as
 * usher-control compares them (docs/payments.md).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <curl/curl.h>
#include <jansson.h>

#include "base/base.h"
#include "tools/usher.h"

/* No report could be had: neither sound nor not. */
#define NO_REPORT 3
#define PATH "/v1/admin/reconciliation"
/* A report has 1,000 findings at most. */
#define REPORT_BYTES_MAX (4u << 20)
#define KEY_BYTES_MAX 256
#define TIMEOUT_S 600L

static const char usage[] =
	"usage: usher reconcile [--url URL] --key-file FILE [--json]\n"
	"\n"
	"Compares the payment provider's books with payments and refunds, and these with orders and\n"
	"their seats. What is under way is counted, not judged. Changes nothing.\n"
	"\n"
	"  --url URL        of usher-control (default: http://127.0.0.1:8080)\n"
	"  --key-file FILE  has an operator's API key; readable by its owner only\n"
	"  --header LINE    one more header of the request; repeatable\n"
	"  --json           the report as it is, in one line; otherwise a table\n"
	"  --help           this text\n"
	"\n"
	"Exit status: 0 sound; 1 there are findings; 2 usage; 3 no report could be had.\n"
	"\n"
	"Example: usher reconcile --url https://tickets.example --key-file /etc/usher/operator.key\n";

struct asked {
	const char *url;
	const char *key_file;
	struct curl_slist *headers;
	bool json;
};

struct body {
	char *text;
	size_t bytes;
};

static size_t take(char *data, size_t size, size_t count, void *context)
{
	struct body *body = context;
	size_t bytes = size * count;
	char *text;

	if (bytes > REPORT_BYTES_MAX - body->bytes)
		return 0;
	text = realloc(body->text, body->bytes + bytes + 1);
	if (text == NULL)
		return 0;
	memcpy(text + body->bytes, data, bytes);
	body->text = text;
	body->bytes += bytes;
	return bytes;
}

static bool add_header(struct asked *asked, const char *line)
{
	struct curl_slist *longer = curl_slist_append(asked->headers, line);

	if (longer != NULL)
		asked->headers = longer;
	return longer != NULL;
}

/* ret: false after a message. */
static bool read_key(struct asked *asked)
{
	char line[KEY_BYTES_MAX + 32] = "Authorization: Bearer ";
	size_t begin = strlen(line), end;
	FILE *file = fopen(asked->key_file, "re");
	struct stat status;
	bool fine;

	if (file == NULL || fstat(fileno(file), &status) != 0) {
		fprintf(stderr, "usher reconcile: %s: %s\n", asked->key_file, strerror(errno));
		if (file != NULL)
			fclose(file);
		return false;
	}
	end = begin + fread(line + begin, 1, KEY_BYTES_MAX, file);
	fclose(file);
	line[end] = '\0';
	line[begin + strcspn(line + begin, " \t\r\n")] = '\0';
	if ((status.st_mode & 077) != 0) {
		fprintf(stderr,
			"usher reconcile: %s can be read by others: chmod 600, and make another key\n",
			asked->key_file);
		return false;
	}
	fine = line[begin] != '\0' && add_header(asked, line);
	explicit_bzero(line, sizeof(line));
	if (!fine)
		fprintf(stderr, "usher reconcile: %s has no key in its first line\n",
			asked->key_file);
	return fine;
}

/* ret: -1: go on; otherwise the exit status. */
static int options(int argc, char **argv, struct asked *asked)
{
	static const struct option longs[] = {{"url", required_argument, NULL, 'u'},
		{"key-file", required_argument, NULL, 'k'},
		{"header", required_argument, NULL, 'H'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return USHER_OK;
		}
		if (c == 'u')
			asked->url = optarg;
		else if (c == 'k')
			asked->key_file = optarg;
		else if (c == 'j')
			asked->json = true;
		else if (c != 'H' || !add_header(asked, optarg))
			return USHER_USAGE;
	}
	if (optind != argc || (asked->key_file == NULL && asked->headers == NULL)) {
		fprintf(stderr, "usher reconcile: --key-file FILE is needed; see --help\n");
		return USHER_USAGE;
	}
	return asked->key_file == NULL || read_key(asked) ? -1 : NO_REPORT;
}

/* ret: the report, or NULL after a message. */
static json_t *fetch(const struct asked *asked)
{
	char url[512], why[CURL_ERROR_SIZE] = "";
	struct body body = {0};
	long status = 0;
	json_t *report = NULL;
	CURL *curl = curl_easy_init();
	CURLcode code;

	USH_ASSERT(curl != NULL);
	snprintf(url, sizeof(url), "%s" PATH, asked->url);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, asked->headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (code == CURLE_OK && body.bytes != 0)
		report = json_loadb(body.text, body.bytes, 0, NULL);
	if (code != CURLE_OK) {
		fprintf(stderr, "usher reconcile: %s: %s\n", url,
			why[0] != '\0' ? why : curl_easy_strerror(code));
	} else if (status != 200 || !json_is_array(json_object_get(report, "findings"))) {
		const char *detail = json_string_value(json_object_get(report, "detail"));

		fprintf(stderr, "usher reconcile: %s: status %ld: %s\n", url, status,
			detail != NULL ? detail : "that is no report");
		json_decref(report);
		report = NULL;
	}
	free(body.text);
	return report;
}

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value != NULL ? value : "";
}

static void print_table(const json_t *report)
{
	static const char *const names[] = {"payments", "under_way", "intents", "captured",
		"refunded", "orders", "sold_elsewhere"};
	const json_t *findings = json_object_get(report, "findings"), *one;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("%-14s %" JSON_INTEGER_FORMAT "\n", names[i],
			json_integer_value(json_object_get(report, names[i])));
	json_array_foreach(findings, i, one)
	{
		printf("%-20s payment %s hold %s %s ours %" JSON_INTEGER_FORMAT
		       " theirs %" JSON_INTEGER_FORMAT "\n",
			text(one, "kind"), text(one, "payment"), text(one, "hold"),
			text(one, "intent"), json_integer_value(json_object_get(one, "ours")),
			json_integer_value(json_object_get(one, "theirs")));
	}
	if (json_array_size(findings) == 0)
		printf("sound\n");
	else
		printf("%zu findings\n", json_array_size(findings));
}

int cmd_reconcile(int argc, char **argv)
{
	struct asked asked = {.url = "http://127.0.0.1:8080"};
	int status = options(argc, argv, &asked);
	json_t *report = NULL;

	if (status < 0) {
		report = fetch(&asked);
		status = NO_REPORT;
	}
	if (report != NULL) {
		status = json_array_size(json_object_get(report, "findings")) == 0 ? USHER_OK
										   : USHER_FAILED;
		if (asked.json) {
			json_dumpf(report, stdout, JSON_COMPACT);
			printf("\n");
		} else {
			print_table(report);
		}
		json_decref(report);
	}
	curl_slist_free_all(asked.headers);
	return status;
}
