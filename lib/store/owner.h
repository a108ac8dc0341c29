/* SPDX-License-Identifier: MIT */
/*
 * Who owns the log's files.  Whoever may write to their directory can put links
 * there, so root stays out of other users' directories, and owner and mode are
 * set on an open plain file, never by name.
 */
#ifndef WALCAST_OWNER_H
#define WALCAST_OWNER_H

#include <sys/types.h>

#include "status.h"

#define OWNER_KEEP ((uid_t)-1) /* for owner_set_file: leave as it is */

/*
 * May this process work on the file at `path`?  Root may only where nobody else
 * can write to its directory or replace it.
 *
 * Returns  ST_OK      not root, or root in a directory of root's; or there is
 *                     no such directory yet
 *          ST_UNSAFE  `err` says as whom to run
 */
MUST_USE enum status owner_check(const char *path, struct errmsg *err);

/*
 * The path with the links of its directory resolved, so that only its last
 * part is left to be checked.
 *
 * Returns  ST_OK, ST_NOTFOUND (no such directory), ST_TOOLARGE
 */
MUST_USE enum status owner_real_path(const char *path, char *out, size_t size);

/*
 * Sets owner, group and mode where they differ.  A missing file is no error.
 *
 * uid, gid   OWNER_KEEP: as they are
 * Returns    ST_OK; ST_DENIED: no right to; ST_UNSAFE: it is a link, or no
 *            plain file with one name; ST_IO
 */
MUST_USE enum status owner_set_file(const char *path, uid_t uid, gid_t gid,
    mode_t mode, struct errmsg *err);
MUST_USE enum status owner_set_directory(const char *path, gid_t gid,
    mode_t mode, struct errmsg *err);

#endif
