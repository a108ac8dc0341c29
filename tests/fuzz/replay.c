/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzzer's function over files, without libFuzzer and with any
 * compiler: what was found once stays found.  Each input is tried whole and
 * cut short at every length up to CUTS_MAX.
 *
 *       replay_FOO FILE-OR-DIRECTORY ...
 *
 * Exit: 0 all ran; 1 a file could not be read.  What breaks aborts.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "buf.h"
#include "fuzz.h"

#define INPUT_MAX  ((size_t)1 << 20)
#define CUTS_MAX   256
#define PATH_BYTES 1024

static size_t n_inputs;

/* In memory of its own size, so that a sanitizer sees a byte too far. */
static void
try_input(struct span s)
{
	uint8_t *exact = malloc(s.len > 0 ? s.len : 1);

	MUST(exact != NULL);
	if (s.len > 0)
		memcpy(exact, s.p, s.len);
	(void)LLVMFuzzerTestOneInput(exact, s.len);
	free(exact);
	n_inputs++;
}

static void
try_all_lengths(struct span s)
{
	size_t n;

	for (n = 0; n < s.len && n < CUTS_MAX; n++)
		try_input(span_of(s.p, n));
	try_input(s);
}

static bool
read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n = 1;

	if (f == NULL)
		return false;
	while (n > 0 && buf_reserve(out, 4096) == ST_OK) {
		n = fread(buf_tail(out), 1, 4096, f);
		buf_grew(out, n);
	}
	n = (size_t)ferror(f);
	(void)fclose(f);
	return n == 0;
}

static bool
try_file(const char *path)
{
	struct buf text;
	bool read;

	buf_init(&text, INPUT_MAX);
	read = read_file(path, &text);
	if (read)
		try_all_lengths(buf_span(&text));
	else
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	buf_fini(&text);
	return read;
}

static bool
try_directory(const char *path, DIR *dir)
{
	char file[PATH_BYTES];
	struct dirent *e;
	bool all = true;

	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		all = try_file(file) && all;
	}
	return all;
}

int
main(int argc, char **argv)
{
	bool all = true;
	int i;

	for (i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);

		if (dir == NULL) {
			all = try_file(argv[i]) && all;
			continue;
		}
		all = try_directory(argv[i], dir) && all;
		(void)closedir(dir);
	}
	printf("%zu inputs\n", n_inputs);
	return all && n_inputs > 0 ? 0 : 1;
}
