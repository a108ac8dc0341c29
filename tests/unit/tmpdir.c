/* SPDX-License-Identifier: MIT */
/* A temporary directory for one test. */
#include "tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

int
tmpdir_setup(void **state)
{
	const char *base = getenv("TMPDIR");
	char *dir = malloc(PATH_BYTES);

	if (dir == NULL)
		return -1;
	(void)snprintf(dir, PATH_BYTES, "%s/walcast-unit-XXXXXX",
	    base == NULL ? "/tmp" : base);
	if (mkdtemp(dir) == NULL) {
		free(dir);
		return -1;
	}
	*state = dir;
	return 0;
}

static int
remove_entry(const char *path, const struct stat *sb, int type, struct FTW *f)
{
	(void)sb;
	(void)type;
	(void)f;
	return remove(path);
}

int
tmpdir_teardown(void **state)
{
	int rc = nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);

	free(*state);
	*state = NULL;
	return rc;
}

const char *
tmpdir_path(const char *dir, const char *name)
{
	static char paths[4][2 * PATH_BYTES];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

void
tmpdir_write(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}
