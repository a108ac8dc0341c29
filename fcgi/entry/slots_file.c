/* SPDX-License-Identifier: MIT */
/*
 * What is checked is checked of the open descriptor, never of a path that
 * somebody could exchange in between.
 */
#include "slots_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "random.h"
#include "span.h"

#define NAME_BYTES      64
#define OTHERS_WRITE    (S_IWGRP | S_IWOTH)
#define OTHERS_ANYTHING (S_IRWXG | S_IRWXO)

static bool
is_ours(int fd, mode_t type, mode_t forbidden)
{
	struct stat sb;

	return fstat(fd, &sb) == 0 && (sb.st_mode & S_IFMT) == type &&
	    sb.st_uid == geteuid() && (sb.st_mode & forbidden) == 0;
}

/* -1, with errno: there is none, or others may write there. */
static int
open_directory(const char *path, mode_t forbidden)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && !is_ours(fd, S_IFDIR, forbidden)) {
		(void)close(fd);
		errno = EPERM;
		fd = -1;
	}
	return fd;
}

/* systemd gives several, separated by colons: the first. */
static int
open_runtime(const char *list)
{
	char path[PATH_MAX];
	size_t n = list == NULL ? 0 : strcspn(list, ":");

	if (n == 0 || n >= sizeof(path))
		return -1;
	memcpy(path, list, n);
	path[n] = '\0';
	return open_directory(path, OTHERS_WRITE);
}

static int
open_beside(const char *socket)
{
	char path[PATH_MAX];
	const char *slash = socket == NULL ? NULL : strrchr(socket, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - socket);

	if (n == 0 || n >= sizeof(path))
		return -1;
	memcpy(path, socket, n);
	path[n] = '\0';
	return open_directory(path, OTHERS_WRITE);
}

static int
open_shared(const char *shared, struct errmsg *note)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/walcast-%u", shared,
	    (unsigned)geteuid());
	(void)mkdir(path, S_IRWXU);
	fd = open_directory(path, OTHERS_ANYTHING);
	if (fd < 0)
		errmsg_set(note,
		    "caps on streams are counted in this process alone, not "
		    "with other workers: %s cannot be used: %s: give the "
		    "worker a directory of its own (RuntimeDirectory= in its "
		    "unit), or remove that one if it is another user's",
		    path,
		    errno == EPERM ? "it is another user's, or open to others"
				   : strerror(errno));
	return fd;
}

static void
name_file(char name[NAME_BYTES], const char *database)
{
	static const struct siphash_key zero;
	char real[PATH_MAX];

	if (realpath(database, real) == NULL)
		(void)snprintf(real, sizeof(real), "%s", database);
	(void)snprintf(name, NAME_BYTES, "slots-%016llx",
	    (unsigned long long)siphash(&zero, real, strlen(real)));
}

static bool
read_key(struct slots_file *f)
{
	return pread(f->fd, f->key.b, sizeof(f->key.b), 0) ==
	    (ssize_t)sizeof(f->key.b);
}

static bool
write_key(struct slots_file *f)
{
	random_bytes(f->key.b, sizeof(f->key.b));
	return pwrite(f->fd, f->key.b, sizeof(f->key.b), 0) ==
	    (ssize_t)sizeof(f->key.b);
}

/* Under its name only when it is whole: others may be starting, too. */
static void
make_file(int dir, const char *name)
{
	struct slots_file f = {.fd = -1};
	char new[NAME_BYTES];
	bool made;

	(void)snprintf(new, sizeof(new), "new-%016llx",
	    (unsigned long long)random_seed());
	f.fd = openat(dir, new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
	    S_IRUSR | S_IWUSR);
	if (f.fd < 0)
		return;
	made = write_key(&f) && linkat(dir, new, dir, name, 0) == 0;
	(void)made; /* else another was quicker, or opening it says why */
	(void)unlinkat(dir, new, 0);
	(void)close(f.fd);
}

static bool
slots_file_open_file(struct slots_file *f, int dir, const char *name)
{
	f->fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0)
		return false;
	if (is_ours(f->fd, S_IFREG, OTHERS_ANYTHING) && read_key(f))
		return true;
	(void)close(f->fd);
	f->fd = -1;
	errno = EPERM;
	return false;
}

/* Takes the directory. */
static bool
open_in(struct slots_file *f, int take_dir, const char *name)
{
	bool open;

	if (take_dir < 0)
		return false;
	open = slots_file_open_file(f, take_dir, name);
	if (!open && errno == ENOENT) {
		make_file(take_dir, name);
		open = slots_file_open_file(f, take_dir, name);
	}
	(void)close(take_dir);
	return open;
}

enum status
slots_file_open(struct slots_file *f, const struct slots_place *place,
    struct errmsg *note)
{
	char name[NAME_BYTES];

	name_file(name, place->database);
	if (open_in(f, open_runtime(place->runtime), name) ||
	    open_in(f, open_beside(place->socket), name) ||
	    open_in(f, open_shared(place->shared, note), name))
		return ST_OK;
	if (note->text[0] == '\0')
		errmsg_set(note,
		    "caps on streams are counted in this process alone, not "
		    "with other workers: %s in %s cannot be used: %s: remove "
		    "it",
		    name, place->shared, strerror(errno));
	f->fd = memfd_create("walcast-slots", MFD_CLOEXEC);
	if (f->fd >= 0 && write_key(f))
		return ST_OK;
	if (f->fd >= 0)
		(void)close(f->fd); /* UNTESTED: no memory for a page */
	return ST_IO;
}
