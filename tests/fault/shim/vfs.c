/* SPDX-License-Identifier: MIT */
/*
 * The n-th call of a method of SQLite's file system fails (control.h says
 * which and how).  Stands above the default VFS and takes its place as the
 * default, so that whoever opens a database afterwards is above us.
 *
 * A site is `vfs-` and the method.  `vfs-tear` counts writes as well: half of
 * the bytes are written before it fails, as on a disk that fills up.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "control.h"

enum site {
	OPEN,
	READ,
	WRITE,
	TEAR,
	SYNC,
	TRUNCATE,
	SIZE,
	LOCK,
	SHM_MAP,
	SHM_LOCK,
	ACCESS,
	PATH,
	N_SITES
};

static const char *const names[N_SITES] = {"vfs-open", "vfs-read", "vfs-write",
    "vfs-tear", "vfs-sync", "vfs-truncate", "vfs-size", "vfs-lock",
    "vfs-shm-map", "vfs-shm-lock", "vfs-access", "vfs-path"};

/* The file of the VFS below lies behind it. */
struct shim_file {
	sqlite3_file base; /* first: SQLite sees this one */
	sqlite3_io_methods methods;
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *below;
} self;

static sqlite3_file *
below(sqlite3_file *f)
{
	return (sqlite3_file *)(void *)((struct shim_file *)(void *)f + 1);
}

#define BELOW(f) (below(f)->pMethods)

/* ---- files -------------------------------------------------------------- */

static int
shim_close(sqlite3_file *f)
{
	return BELOW(f)->xClose(below(f));
}

static int
shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	if (control_fails(READ))
		return control_error(SQLITE_IOERR_READ);
	return BELOW(f)->xRead(below(f), p, n, at);
}

static int
shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (control_fails(WRITE))
		return control_error(SQLITE_IOERR_WRITE);
	if (control_fails(TEAR)) {
		(void)BELOW(f)->xWrite(below(f), p, n / 2, at);
		return control_error(SQLITE_FULL);
	}
	return BELOW(f)->xWrite(below(f), p, n, at);
}

static int
shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	if (control_fails(TRUNCATE))
		return control_error(SQLITE_IOERR_TRUNCATE);
	return BELOW(f)->xTruncate(below(f), size);
}

static int
shim_sync(sqlite3_file *f, int flags)
{
	if (control_fails(SYNC))
		return control_error(SQLITE_IOERR_FSYNC);
	return BELOW(f)->xSync(below(f), flags);
}

static int
shim_size(sqlite3_file *f, sqlite3_int64 *size)
{
	if (control_fails(SIZE))
		return control_error(SQLITE_IOERR_FSTAT);
	return BELOW(f)->xFileSize(below(f), size);
}

static int
shim_lock(sqlite3_file *f, int lock)
{
	if (control_fails(LOCK))
		return control_error(SQLITE_IOERR_LOCK);
	return BELOW(f)->xLock(below(f), lock);
}

static int
shim_unlock(sqlite3_file *f, int lock)
{
	return BELOW(f)->xUnlock(below(f), lock);
}

static int
shim_check_reserved(sqlite3_file *f, int *out)
{
	return BELOW(f)->xCheckReservedLock(below(f), out);
}

static int
shim_control(sqlite3_file *f, int op, void *arg)
{
	return BELOW(f)->xFileControl(below(f), op, arg);
}

static int
shim_sector_size(sqlite3_file *f)
{
	return BELOW(f)->xSectorSize(below(f));
}

static int
shim_characteristics(sqlite3_file *f)
{
	return BELOW(f)->xDeviceCharacteristics(below(f));
}

static int
shim_shm_map(sqlite3_file *f, int page, int bytes, int extend,
    void volatile **out)
{
	if (control_fails(SHM_MAP)) {
		*out = NULL;
		return control_error(SQLITE_IOERR_SHMMAP);
	}
	return BELOW(f)->xShmMap(below(f), page, bytes, extend, out);
}

static int
shim_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	/* Giving a lock back cannot fail. */
	if ((flags & SQLITE_SHM_LOCK) != 0 && control_fails(SHM_LOCK))
		return control_error(SQLITE_IOERR_SHMLOCK);
	return BELOW(f)->xShmLock(below(f), offset, n, flags);
}

static void
shim_shm_barrier(sqlite3_file *f)
{
	BELOW(f)->xShmBarrier(below(f));
}

static int
shim_shm_unmap(sqlite3_file *f, int remove)
{
	return BELOW(f)->xShmUnmap(below(f), remove);
}

static int
shim_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **out)
{
	return BELOW(f)->xFetch(below(f), at, n, out);
}

static int
shim_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
	return BELOW(f)->xUnfetch(below(f), at, p);
}

static const sqlite3_io_methods shim_methods = {
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
    .xFetch = shim_fetch,
    .xUnfetch = shim_unfetch,
};

/* ---- the file system ---------------------------------------------------- */

static int
shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
    int *out_flags)
{
	struct shim_file *sf = (struct shim_file *)(void *)f;
	int rc;

	(void)vfs;
	sf->base.pMethods = NULL;
	if (control_fails(OPEN))
		return control_error(SQLITE_CANTOPEN);
	rc = self.below->xOpen(self.below, name, below(f), flags, out_flags);
	if (BELOW(f) == NULL)
		return rc;
	sf->methods = shim_methods;
	sf->methods.iVersion = BELOW(f)->iVersion;
	sf->base.pMethods = &sf->methods;
	return rc;
}

static int
shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	if (control_fails(ACCESS))
		return control_error(SQLITE_IOERR_ACCESS);
	return self.below->xAccess(self.below, name, flags, out);
}

static int
shim_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	if (control_fails(PATH))
		return control_error(SQLITE_CANTOPEN);
	return self.below->xFullPathname(self.below, name, n, out);
}

/* xDelete is left to the VFS below: a log in WAL mode is never deleted. */
__attribute__((constructor)) static void
start(void)
{
	self.below = sqlite3_vfs_find(NULL);
	if (self.below == NULL) {
		(void)fputs("no VFS of SQLite to stand above\n", stderr);
		abort();
	}
	self.vfs = *self.below;
	self.vfs.szOsFile += (int)sizeof(struct shim_file);
	self.vfs.pNext = NULL;
	self.vfs.zName = "walcast-fault";
	self.vfs.xOpen = shim_open;
	self.vfs.xAccess = shim_access;
	self.vfs.xFullPathname = shim_path;
	if (sqlite3_vfs_register(&self.vfs, 1) != SQLITE_OK)
		abort();
	control_open(names, N_SITES);
}
