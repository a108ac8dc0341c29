/* SPDX-License-Identifier: MIT */
/* The log as a file: its version, its modes, how it is made. */
#ifndef WALCAST_STORE_FILE_H
#define WALCAST_STORE_FILE_H

#include "status.h"

struct db;

/* Is this a log of ours, of the version that we use? */
MUST_USE enum status store_file_version(struct db *db, const char *path,
    struct errmsg *err);

#endif
