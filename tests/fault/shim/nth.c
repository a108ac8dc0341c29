/* SPDX-License-Identifier: MIT */
/*
 * The n-th call of the C library fails (control.h says which and how).
 *
 * A site is a kind of call under one name; the table below has them all.  A
 * call that moves bytes can be cut short instead.  Loaded before a
 * sanitizer's run time (verify_asan_link_order=0) it stands in front of its
 * malloc, too.
 */
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"

enum site {
	MALLOC,
	WRITE,
	SEND,
	READ,
	RECV,
	PREAD,
	PWRITE,
	FSYNC,
	FTRUNCATE,
	OPEN,
	MMAP,
	STAT,
	FCNTL,
	ACCEPT,
	SOCKET,
	CONNECT,
	EPOLL_CREATE,
	EPOLL_CTL,
	EPOLL_WAIT,
	SIGNALFD,
	N_SITES
};

static const char *const names[N_SITES] = {"malloc", "write", "send", "read",
    "recv", "pread", "pwrite", "fsync", "ftruncate", "open", "mmap", "stat",
    "fcntl", "accept", "socket", "connect", "epoll_create", "epoll_ctl",
    "epoll_wait", "signalfd"};

__attribute__((constructor)) static void
start(void)
{
	control_open(names, N_SITES);
}

#define EXPORT __attribute__((visibility("default")))

static void *
next(void **found, const char *name)
{
	if (*found == NULL)
		*found = dlsym(RTLD_NEXT, name);
	return *found;
}

/* The function that would have been called without us. */
#define NEXT(fn)                                                               \
	({                                                                     \
		static void *found;                                            \
		(__typeof__(fn) *)next(&found, #fn);                           \
	})

static int
refuse(int usual)
{
	errno = control_error(usual);
	return -1;
}

/* A function that returns -1 when it fails. */
#define FAILING(site, usual, type, fn, params, args)                           \
	EXPORT type fn params                                                  \
	{                                                                      \
		if (control_fails(site))                                       \
			return (type)(intptr_t)refuse(usual);                  \
		return NEXT(fn) args;                                          \
	}

/* One that returns NULL. */
#define FAILING_NULL(site, usual, type, fn, params, args)                      \
	EXPORT type fn params                                                  \
	{                                                                      \
		if (control_fails(site)) {                                     \
			(void)refuse(usual);                                   \
			return NULL;                                           \
		}                                                              \
		return NEXT(fn) args;                                          \
	}

/* One that moves n bytes. */
#define FAILING_BYTES(site, usual, fn, params, args)                           \
	EXPORT ssize_t fn params                                               \
	{                                                                      \
		if (control_fails(site)) {                                     \
			if (!control_is_short())                               \
				return refuse(usual);                          \
			n = n / 2 + n % 2;                                     \
		}                                                              \
		return NEXT(fn) args;                                          \
	}

/* ---- memory ------------------------------------------------------------- */

FAILING_NULL(MALLOC, ENOMEM, void *, malloc, (size_t n), (n))
FAILING_NULL(MALLOC, ENOMEM, void *, calloc, (size_t n, size_t size), (n, size))
FAILING_NULL(MALLOC, ENOMEM, void *, realloc, (void *p, size_t n), (p, n))
FAILING(MMAP, ENOMEM, void *, mmap,
    (void *p, size_t n, int prot, int flags, int fd, off_t at),
    (p, n, prot, flags, fd, at))
FAILING(MMAP, ENOMEM, void *, mmap64,
    (void *p, size_t n, int prot, int flags, int fd, off64_t at),
    (p, n, prot, flags, fd, at))

/* ---- bytes -------------------------------------------------------------- */

FAILING_BYTES(WRITE, EIO, write, (int fd, const void *p, size_t n), (fd, p, n))
FAILING_BYTES(READ, EIO, read, (int fd, void *p, size_t n), (fd, p, n))
FAILING_BYTES(SEND, ENOBUFS, send, (int fd, const void *p, size_t n, int flags),
    (fd, p, n, flags))
FAILING_BYTES(SEND, ENOBUFS, sendto,
    (int fd, const void *p, size_t n, int flags, const struct sockaddr *to,
	socklen_t to_len),
    (fd, p, n, flags, to, to_len))
FAILING_BYTES(RECV, ENOMEM, recv, (int fd, void *p, size_t n, int flags),
    (fd, p, n, flags))
FAILING_BYTES(PREAD, EIO, pread, (int fd, void *p, size_t n, off_t at),
    (fd, p, n, at))
FAILING_BYTES(PREAD, EIO, pread64, (int fd, void *p, size_t n, off64_t at),
    (fd, p, n, at))
FAILING_BYTES(PWRITE, EIO, pwrite, (int fd, const void *p, size_t n, off_t at),
    (fd, p, n, at))
FAILING_BYTES(PWRITE, EIO, pwrite64,
    (int fd, const void *p, size_t n, off64_t at), (fd, p, n, at))

/* ---- files -------------------------------------------------------------- */

FAILING(FSYNC, EIO, int, fsync, (int fd), (fd))
FAILING(FSYNC, EIO, int, fdatasync, (int fd), (fd))
FAILING(FTRUNCATE, EIO, int, ftruncate, (int fd, off_t n), (fd, n))
FAILING(FTRUNCATE, EIO, int, ftruncate64, (int fd, off64_t n), (fd, n))
FAILING(STAT, EIO, int, stat, (const char *path, struct stat *sb), (path, sb))
FAILING(STAT, EIO, int, lstat, (const char *path, struct stat *sb), (path, sb))
FAILING(STAT, EIO, int, fstat, (int fd, struct stat *sb), (fd, sb))
FAILING(STAT, EIO, int, stat64, (const char *path, struct stat64 *sb),
    (path, sb))
FAILING(STAT, EIO, int, lstat64, (const char *path, struct stat64 *sb),
    (path, sb))
FAILING(STAT, EIO, int, fstat64, (int fd, struct stat64 *sb), (fd, sb))
FAILING_NULL(OPEN, EMFILE, FILE *, fopen, (const char *path, const char *mode),
    (path, mode))
FAILING_NULL(OPEN, EMFILE, DIR *, opendir, (const char *path), (path))
FAILING(OPEN, EMFILE, int, shm_open, (const char *name, int flags, mode_t mode),
    (name, flags, mode))

/* The last argument of a call that may leave it out. */
#define LAST(type, before)                                                     \
	({                                                                     \
		va_list list_;                                                 \
		type last_;                                                    \
                                                                               \
		va_start(list_, before);                                       \
		last_ = va_arg(list_, type);                                   \
		va_end(list_);                                                 \
		last_;                                                         \
	})

EXPORT int
open(const char *path, int flags, ...)
{
	unsigned mode = flags & (O_CREAT | __O_TMPFILE) ? LAST(unsigned, flags)
							: 0;

	return control_fails(OPEN) ? refuse(EMFILE)
				   : NEXT(open)(path, flags, mode);
}

EXPORT int
open64(const char *path, int flags, ...)
{
	unsigned mode = flags & (O_CREAT | __O_TMPFILE) ? LAST(unsigned, flags)
							: 0;

	return control_fails(OPEN) ? refuse(EMFILE)
				   : NEXT(open64)(path, flags, mode);
}

static bool
locks(int command)
{
	return command == F_SETLK || command == F_OFD_SETLK;
}

EXPORT int
fcntl(int fd, int command, ...)
{
	void *last = LAST(void *, command);

	return locks(command) && control_fails(FCNTL)
	    ? refuse(ENOLCK)
	    : NEXT(fcntl)(fd, command, last);
}

EXPORT int
fcntl64(int fd, int command, ...)
{
	void *last = LAST(void *, command);

	return locks(command) && control_fails(FCNTL)
	    ? refuse(ENOLCK)
	    : NEXT(fcntl64)(fd, command, last);
}

/* ---- sockets and the loop ----------------------------------------------- */

FAILING(ACCEPT, EMFILE, int, accept4,
    (int fd, struct sockaddr *a, socklen_t *len, int flags),
    (fd, a, len, flags))
FAILING(SOCKET, EMFILE, int, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
FAILING(SOCKET, EMFILE, int, socketpair,
    (int domain, int type, int protocol, int pair[2]),
    (domain, type, protocol, pair))
FAILING(CONNECT, EAGAIN, int, connect,
    (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len))
FAILING(EPOLL_CREATE, EMFILE, int, epoll_create1, (int flags), (flags))
FAILING(EPOLL_CTL, ENOMEM, int, epoll_ctl,
    (int efd, int op, int fd, struct epoll_event *ev), (efd, op, fd, ev))
FAILING(EPOLL_WAIT, EINTR, int, epoll_wait,
    (int efd, struct epoll_event *ev, int max, int timeout_ms),
    (efd, ev, max, timeout_ms))
FAILING(SIGNALFD, EMFILE, int, signalfd,
    (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
