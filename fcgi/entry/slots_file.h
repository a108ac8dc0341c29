/* SPDX-License-Identifier: MIT */
/*
 * The file whose bytes are the slots (slots.h), in a directory that only we
 * may write: another user of the machine can neither make it first nor hold
 * what is in it.  It begins with the key under which names become pools.
 */
#ifndef WALCAST_SLOTS_FILE_H
#define WALCAST_SLOTS_FILE_H

#include "siphash.h"
#include "status.h"

/* Where it may be; the first that is a directory of ours counts. */
struct slots_place {
	const char *database; /* whose slots: its real path names the file */
	const char *runtime;  /* $RUNTIME_DIRECTORY, or NULL */
	const char *socket;   /* of pubd: beside it, if that is ours; or NULL */
	const char *shared;   /* "/dev/shm": in a directory made by us there */
};

struct slots_file {
	int fd;
	struct siphash_key key;
};

/*
 * Opens it, or makes it.  Where there is no such directory the file has no
 * name: it counts for this process alone, and `note` says so.
 *
 * note     left alone when all workers of this user share the file
 * Returns  ST_OK; ST_IO: no descriptors
 */
MUST_USE enum status slots_file_open(struct slots_file *out,
    const struct slots_place *place, struct errmsg *note);

#endif
