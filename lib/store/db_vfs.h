/* SPDX-License-Identifier: MIT */
/*
 * A layer around SQLite's own file system (its "VFS") that tells how long
 * syncs take, which SQLite does not.  Of use to db.c only.
 */
#ifndef WALCAST_DB_VFS_H
#define WALCAST_DB_VFS_H

struct hist;

/*
 * Makes the layer known to SQLite, once for the process.
 *
 * syncs    counts each sync of a file that is opened through the layer, in
 *          microseconds (HIST_TIME), from now on; of one thread
 * Returns  the name to give to sqlite3_open_v2; NULL when there is no layer
 *          (its default VFS serves)
 */
const char *db_vfs_timing(struct hist *syncs);

#endif
