/* SPDX-License-Identifier: Apache-2.0 */
/* usher journal forget: a reader that does not come back keeps no segment any more. */
#include <getopt.h>
#include <stdio.h>

#include "journal/position.h"
#include "tools/offline.h"
#include "tools/usher.h"

static const char usage[] =
	"usage: usher journal forget NAME STATE\n"
	"\n"
	"Forgets the reader NAME of the journal in usherd's state directory STATE: segments that only it\n"
	"needed may be used again. When it comes back it begins anew, or reads an archive. NAME is one\n"
	"that `usher journal stat --segments STATE` shows.\n"
	"\n"
	"  --help        this text\n"
	"\n"
	"Exit status: 0 forgotten; 1 there is none of this name; 2 usage.\n"
	"\n"
	"Example: usher journal forget seat-map /var/lib/usher\n";

int journal_forget(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
	struct ush_message message = {{0}};
	struct offline offline;
	int error, option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		fputs(usage, option == 'h' ? stdout : stderr);
		return option == 'h' ? USHER_OK : USHER_USAGE;
	}
	if (optind + 3 != argc || !ush_reader_name_is_good(argv[optind + 1])) {
		fputs(usage, stderr);
		return USHER_USAGE;
	}
	error = offline_open_disk(&offline, argv[optind + 2], NULL, &message);
	if (error == 0) {
		error = ush_position_drop(&offline.disk, argv[optind + 1], &message);
		offline_close(&offline);
	}
	if (error != 0)
		fprintf(stderr, "usher journal: %s\n", message.text);
	return error == 0 ? USHER_OK : USHER_FAILED;
}
