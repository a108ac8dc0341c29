/* SPDX-License-Identifier: MIT */
/*
 * Reads a whole file that decides who gets in: only if nobody else may write
 * it.  Blocks on the disk.
 */
#ifndef WALCAST_TEXTFILE_H
#define WALCAST_TEXTFILE_H

#include <sys/stat.h>

#include "buf.h"
#include "status.h"

/*
 * Appends the file's bytes to `out`, whose bound is that of the file.
 *
 * what     how to call it in errors, such as "the access file"
 * sb       as it was when it was read
 * Returns  ST_OK
 *          ST_NOTFOUND, ST_DENIED, ST_IO, ST_NOMEM
 *          ST_TOOLARGE  it is longer than the bound
 *          ST_UNSAFE    others may write it
 *          err names the file and what to do
 */
MUST_USE enum status textfile_read(const char *path, const char *what,
    struct buf *out, struct stat *sb, struct errmsg *err);

#endif
