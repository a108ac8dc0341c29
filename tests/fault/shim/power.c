/* SPDX-License-Identifier: MIT */
/*
 * What a program asks of its disk, and what it says on its sockets, in one
 * order: the trace from which power.py makes the disk that a power loss
 * leaves.
 *
 * WALCAST_POWER_TRACE   the trace: a file that the driver made and that all
 *                       programs under test map
 * WALCAST_POWER_DIR     the directory whose files are traced
 *
 * Stands at the system calls and not at SQLite's VFS, since whether the
 * directory of a new file is synced is the VFS's doing, and is part of what is
 * tested.  -shm is left out: it is memory, and of no use after a power loss.
 *
 * Order, over all processes: a record's place is taken before a write, a
 * truncation, a removal or a send happens, and after a sync has returned.  So
 * what is synced in the trace is synced, and what was said is not said later
 * than it was.  A record whose process was killed meanwhile has no kind.
 *
 * power.py has this layout a second time (class Trace).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT  __attribute__((visibility("default")))
#define FDS_MAX 65536

struct header {
	uint64_t capacity;      /* bytes of the file */
	_Atomic uint64_t next;  /* where the next record goes */
	_Atomic int64_t die_in; /* killed instead of the n-th sync; 0: never */
};

enum kind { OPENED = 1, CREATED, WRITTEN, TRUNCATED, SYNCED, REMOVED, SENT };

struct record {
	uint64_t bytes; /* of all of it, a multiple of 8 */
	_Atomic uint32_t kind;
	uint32_t pid;
	uint64_t ino;  /* of the file, or of the socket */
	uint64_t at;   /* offset, or new size */
	uint64_t used; /* bytes of data */
	char data[];   /* what was written or sent; a name */
};

enum role { OTHER, TRACED, DIRECTORY };

static struct {
	struct header *trace; /* NULL: not traced */
	char dir[4096];
	size_t dir_len;
} self;

static _Atomic unsigned char roles[FDS_MAX];

/* The C library's own function of this name. */
#define REAL(name)                                                             \
	static __typeof__(name) *real;                                         \
	if (real == NULL)                                                      \
	*(void **)(&real) = dlsym(RTLD_NEXT, #name)

static void
give_up(const char *why)
{
	(void)fprintf(stderr, "power shim: %s\n", why);
	abort();
}

/* ---- the trace ---------------------------------------------------------- */

static struct record *
reserve(uint64_t ino, uint64_t at, size_t n)
{
	uint64_t bytes = (sizeof(struct record) + n + 7) & ~UINT64_C(7);
	uint64_t place = atomic_fetch_add(&self.trace->next, bytes);
	struct record *r;

	if (place + bytes > self.trace->capacity)
		give_up("the trace is full");
	r = (struct record *)(void *)((char *)self.trace + place);
	r->bytes = bytes;
	r->pid = (uint32_t)getpid();
	r->ino = ino;
	r->at = at;
	return r;
}

static void
finish(struct record *r, enum kind kind, const void *data, size_t n)
{
	if (n > 0)
		memcpy(r->data, data, n);
	r->used = n;
	atomic_store_explicit(&r->kind, kind, memory_order_release);
}

static void
note(enum kind kind, uint64_t ino, uint64_t at, const void *data, size_t n)
{
	finish(reserve(ino, at, n), kind, data, n);
}

static void
start(void)
{
	const char *path = getenv("WALCAST_POWER_TRACE");
	const char *dir = getenv("WALCAST_POWER_DIR");
	struct stat sb;
	void *map;
	int fd;

	if (path == NULL || dir == NULL || strlen(dir) >= sizeof(self.dir))
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &sb) < 0)
		give_up("the trace cannot be opened");
	map = mmap(NULL, (size_t)sb.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, 0);
	(void)close(fd);
	if (map == MAP_FAILED)
		give_up("the trace cannot be mapped");
	self.dir_len = strlen(dir);
	memcpy(self.dir, dir, self.dir_len + 1);
	self.trace = map;
}

__attribute__((constructor)) static void
constructor(void)
{
	start();
}

/* ---- which files -------------------------------------------------------- */

/* The name of a file directly in the directory; NULL: none of ours. */
static const char *
name_in_dir(const char *path)
{
	const char *name = path + self.dir_len + 1;
	size_t n;

	if (self.trace == NULL || strncmp(path, self.dir, self.dir_len) != 0 ||
	    path[self.dir_len] != '/' || strchr(name, '/') != NULL)
		return NULL;
	n = strlen(name);
	return n > 4 && strcmp(name + n - 4, "-shm") == 0 ? NULL : name;
}

static enum role
role_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? (enum role)roles[fd] : OTHER;
}

static uint64_t
inode_of(int fd)
{
	struct stat sb;

	return fstat(fd, &sb) == 0 ? (uint64_t)sb.st_ino : 0;
}

static void
note_open(int fd, const char *path, bool was_there)
{
	const char *name = name_in_dir(path);

	if (fd < 0 || self.trace == NULL)
		return;
	if (fd >= FDS_MAX)
		give_up("too many descriptors");
	if (strcmp(path, self.dir) == 0)
		roles[fd] = DIRECTORY;
	if (name == NULL)
		return;
	roles[fd] = TRACED;
	note(was_there ? OPENED : CREATED, inode_of(fd), 0, name, strlen(name));
}

/* ---- system calls ------------------------------------------------------- */

static int
open_any(int (*real)(const char *, int, ...), const char *path, int flags,
    mode_t mode)
{
	struct stat sb;
	bool was_there = name_in_dir(path) == NULL || lstat(path, &sb) == 0;
	int fd = real(path, flags, mode), keep = errno;

	if (fd >= 0 && name_in_dir(path) != NULL && (flags & O_TRUNC) != 0)
		give_up("O_TRUNC is not traced");
	note_open(fd, path, was_there);
	errno = keep;
	return fd;
}

static mode_t
mode_of(int flags, va_list ap)
{
	return (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
}

EXPORT int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	REAL(open);
	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_any(real, path, flags, mode);
}

EXPORT int
open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	REAL(open64);
	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_any(real, path, flags, mode);
}

EXPORT int
close(int fd)
{
	REAL(close);
	if (fd >= 0 && fd < FDS_MAX)
		roles[fd] = OTHER;
	return real(fd);
}

EXPORT ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	REAL(pwrite64);
	if (role_of(fd) == TRACED)
		note(WRITTEN, inode_of(fd), (uint64_t)at, p, n);
	return real(fd, p, n, at);
}

EXPORT int
ftruncate64(int fd, off64_t size)
{
	REAL(ftruncate64);
	if (role_of(fd) == TRACED)
		note(TRUNCATED, inode_of(fd), (uint64_t)size, NULL, 0);
	return real(fd, size);
}

EXPORT int
unlink(const char *path)
{
	const char *name = name_in_dir(path);

	REAL(unlink);
	if (name != NULL)
		note(REMOVED, 0, 0, name, strlen(name));
	return real(path);
}

/* As a power cut would, but the kernel's cache stays. */
static void
die_when_due(void)
{
	int64_t left = atomic_load(&self.trace->die_in);

	if (left > 0 && atomic_fetch_sub(&self.trace->die_in, 1) == 1)
		(void)kill(getpid(), SIGKILL);
}

static int
sync_any(int (*real)(int), int fd)
{
	int rc, keep;

	if (role_of(fd) == OTHER)
		return real(fd);
	if (role_of(fd) == TRACED)
		die_when_due();
	rc = real(fd);
	keep = errno;
	if (rc == 0)
		note(SYNCED, role_of(fd) == TRACED ? inode_of(fd) : 0, 0, NULL,
		    0);
	errno = keep;
	return rc;
}

EXPORT int
fsync(int fd)
{
	REAL(fsync);
	return sync_any(real, fd);
}

EXPORT int
fdatasync(int fd)
{
	REAL(fdatasync);
	return sync_any(real, fd);
}

/* ---- what is said ------------------------------------------------------- */

static struct record *
reserve_sent(int fd, size_t n)
{
	struct stat sb;

	if (self.trace == NULL || fstat(fd, &sb) < 0 || !S_ISSOCK(sb.st_mode))
		return NULL;
	return reserve((uint64_t)sb.st_ino, 0, n);
}

static void
finish_sent(struct record *r, const void *p, ssize_t n)
{
	int keep = errno;

	if (r != NULL)
		finish(r, SENT, p, n > 0 ? (size_t)n : 0);
	errno = keep;
}

EXPORT ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	struct record *r = reserve_sent(fd, n);
	ssize_t sent;

	REAL(send);
	sent = real(fd, p, n, flags);
	finish_sent(r, p, sent);
	return sent;
}

EXPORT ssize_t
write(int fd, const void *p, size_t n)
{
	struct record *r = reserve_sent(fd, n);
	ssize_t sent;

	REAL(write);
	if (role_of(fd) == TRACED)
		give_up("write() to a file is not traced");
	sent = real(fd, p, n);
	finish_sent(r, p, sent);
	return sent;
}
