/* SPDX-License-Identifier: MIT */
/* Reading a file that nobody else may write. */
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PIECE 65536

static enum status
cannot_open(const char *path, const char *what, struct errmsg *err)
{
	int why = errno;

	errmsg_set(err, "cannot read %s %s: %s: %s", what, path, strerror(why),
	    why == EACCES ? "let the group of this program read it (chgrp, "
			    "chmod 0640)"
			  : "make it, or correct its name in walcast.conf");
	if (why == EACCES)
		return ST_DENIED;
	return why == ENOENT || why == ENOTDIR ? ST_NOTFOUND : ST_IO;
}

/* Who can write it decides what it says. */
static enum status
check_writers(const char *path, const char *what, const struct stat *sb,
    struct errmsg *err)
{
	if (!S_ISREG(sb->st_mode)) {
		errmsg_set(err, "%s %s is no file", what, path);
		return ST_UNSAFE;
	}
	if ((sb->st_mode & S_IWOTH) != 0) {
		errmsg_set(err,
		    "everybody may write %s %s: it is not believed; chmod o-w "
		    "it and look at what it says",
		    what, path);
		return ST_UNSAFE;
	}
	if (sb->st_uid != 0 && sb->st_uid != geteuid()) {
		errmsg_set(err,
		    "%s %s belongs to uid %lu, who could change it: chown it "
		    "to root",
		    what, path, (unsigned long)sb->st_uid);
		return ST_UNSAFE;
	}
	return ST_OK;
}

static enum status
textfile_pieces(int fd, const char *path, const char *what, struct buf *out,
    struct errmsg *err)
{
	enum status st = ST_OK;
	char piece[PIECE];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0 && st == ST_OK)
		st = buf_append(out, span_of(piece, (size_t)n));
	if (n < 0) {
		errmsg_set(err, "cannot read %s %s: %s", what, path,
		    strerror(errno));
		return ST_IO;
	}
	if (st == ST_FULL) {
		errmsg_set(err, "%s %s is longer than %zu bytes", what, path,
		    out->max);
		return ST_TOOLARGE;
	}
	if (st != ST_OK)
		errmsg_set(err, "%s %s: not enough memory", what, path);
	return st;
}

enum status
textfile_read(const char *path, const char *what, struct buf *out,
    struct stat *sb, struct errmsg *err)
{
	/* A FIFO in its place must not hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum status st;

	if (fd < 0)
		return cannot_open(path, what, err);
	if (fstat(fd, sb) < 0) {
		errmsg_set(err, "cannot look at %s %s: %s", what, path,
		    strerror(errno));
		st = ST_IO;
	} else {
		st = check_writers(path, what, sb, err);
	}
	if (st == ST_OK)
		st = textfile_pieces(fd, path, what, out, err);
	(void)close(fd);
	return st;
}
