/* SPDX-License-Identifier: MIT */
/*
 * The layer: xOpen puts a file of ours before that of SQLite's default VFS,
 * xSync is timed, every other method is handed on as it comes.  All that is
 * not about files is the default VFS's own.
 *
 * A file has the methods that the one behind it has and no more: iVersion
 * says so, and is at most 3, the newest that is known here
 * (sqlite.org/c3ref/io_methods.html).
 */
#include "db_vfs.h"

#include <sqlite3.h>
#include <stddef.h>

#include "clock.h"
#include "hist.h"

#define KNOWN_VERSION 3

/* The file of the default VFS lies behind it. */
struct layer_file {
	sqlite3_file base; /* first: SQLite sees this one */
	sqlite3_io_methods methods;
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *below; /* NULL: not registered */
	struct hist *syncs;
} self;

static sqlite3_file *
below(sqlite3_file *f)
{
	return (sqlite3_file *)(void *)((struct layer_file *)(void *)f + 1);
}

/* ---- files -------------------------------------------------------------- */

static int
layer_sync(sqlite3_file *f, int flags)
{
	uint64_t from_us = clock_mono_us();
	int rc = below(f)->pMethods->xSync(below(f), flags);

	hist_add(self.syncs, HIST_TIME, clock_mono_us() - from_us, 1);
	return rc;
}

static int
layer_close(sqlite3_file *f)
{
	return below(f)->pMethods->xClose(below(f));
}

static int
layer_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return below(f)->pMethods->xRead(below(f), p, n, at);
}

static int
layer_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	return below(f)->pMethods->xWrite(below(f), p, n, at);
}

static int
layer_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return below(f)->pMethods->xTruncate(below(f), size);
}

static int
layer_file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return below(f)->pMethods->xFileSize(below(f), size);
}

static int
layer_lock(sqlite3_file *f, int lock)
{
	return below(f)->pMethods->xLock(below(f), lock);
}

static int
layer_unlock(sqlite3_file *f, int lock)
{
	return below(f)->pMethods->xUnlock(below(f), lock);
}

static int
layer_check_reserved(sqlite3_file *f, int *out)
{
	return below(f)->pMethods->xCheckReservedLock(below(f), out);
}

static int
layer_control(sqlite3_file *f, int op, void *arg)
{
	return below(f)->pMethods->xFileControl(below(f), op, arg);
}

static int
layer_sector_size(sqlite3_file *f)
{
	return below(f)->pMethods->xSectorSize(below(f));
}

static int
layer_characteristics(sqlite3_file *f)
{
	return below(f)->pMethods->xDeviceCharacteristics(below(f));
}

static int
layer_shm_map(sqlite3_file *f, int page, int bytes, int extend,
    void volatile **out)
{
	return below(f)->pMethods->xShmMap(below(f), page, bytes, extend, out);
}

static int
layer_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return below(f)->pMethods->xShmLock(below(f), offset, n, flags);
}

static void
layer_shm_barrier(sqlite3_file *f)
{
	below(f)->pMethods->xShmBarrier(below(f));
}

static int
layer_shm_unmap(sqlite3_file *f, int remove)
{
	return below(f)->pMethods->xShmUnmap(below(f), remove);
}

static int
layer_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **out)
{
	return below(f)->pMethods->xFetch(below(f), at, n, out);
}

static int
layer_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
	return below(f)->pMethods->xUnfetch(below(f), at, p);
}

static const sqlite3_io_methods layer_methods = {
    .xClose = layer_close,
    .xRead = layer_read,
    .xWrite = layer_write,
    .xTruncate = layer_truncate,
    .xSync = layer_sync,
    .xFileSize = layer_file_size,
    .xLock = layer_lock,
    .xUnlock = layer_unlock,
    .xCheckReservedLock = layer_check_reserved,
    .xFileControl = layer_control,
    .xSectorSize = layer_sector_size,
    .xDeviceCharacteristics = layer_characteristics,
    .xShmMap = layer_shm_map,
    .xShmLock = layer_shm_lock,
    .xShmBarrier = layer_shm_barrier,
    .xShmUnmap = layer_shm_unmap,
    .xFetch = layer_fetch,
    .xUnfetch = layer_unfetch,
};

static int
db_vfs_least(int version)
{
	return version < KNOWN_VERSION ? version : KNOWN_VERSION;
}

static int
layer_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
    int *out_flags)
{
	struct layer_file *lf = (struct layer_file *)(void *)f;
	int rc;

	(void)vfs;
	lf->base.pMethods = below(f)->pMethods = NULL;
	rc = self.below->xOpen(self.below, name, below(f), flags, out_flags);
	if (below(f)->pMethods == NULL)
		return rc; /* and SQLite does not close it */
	lf->methods = layer_methods;
	lf->methods.iVersion = db_vfs_least(below(f)->pMethods->iVersion);
	lf->base.pMethods = &lf->methods;
	return rc;
}

/* ---- the layer ---------------------------------------------------------- */

const char *
db_vfs_timing(struct hist *syncs)
{
	sqlite3_vfs *found = sqlite3_vfs_find(NULL);

	self.syncs = syncs;
	if (self.below != NULL)
		return self.vfs.zName;
	if (found == NULL)
		return NULL; /* UNTESTED: a SQLite without any VFS */
	/*
	 * pAppData stays that of the default VFS, whose methods expect to find
	 * it there.
	 */
	self.vfs = *found;
	self.vfs.iVersion = db_vfs_least(found->iVersion);
	self.vfs.szOsFile += (int)sizeof(struct layer_file);
	self.vfs.pNext = NULL;
	self.vfs.zName = "walcast-timing";
	self.vfs.xOpen = layer_open;
	if (sqlite3_vfs_register(&self.vfs, 0) != SQLITE_OK)
		return NULL; /* UNTESTED: its mutex cannot be made */
	self.below = found;
	return self.vfs.zName;
}
