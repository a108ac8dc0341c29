/* SPDX-License-Identifier: MIT */
/*
 * Files are opened with O_PATH, never ordinarily: closing an ordinary
 * descriptor would drop the locks that SQLite holds on the same file in this
 * process (fcntl(2)).
 */
#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- root ---------------------------------------------------------------- */

/* In a sticky directory nobody else can replace what belongs to root. */
static bool
others_may_change(const struct stat *sb, bool is_parent)
{
	if (sb->st_uid != 0)
		return true;
	if (is_parent && (sb->st_mode & S_ISVTX) != 0)
		return false;
	return (sb->st_mode & S_IWOTH) != 0 ||
	    ((sb->st_mode & S_IWGRP) != 0 && sb->st_gid != 0);
}

/* Cuts the last part off; false at the root. */
static bool
go_up(char *dir)
{
	char *slash = strrchr(dir, '/');

	if (slash == NULL || dir[1] == '\0')
		return false;
	slash[slash == dir ? 1 : 0] = '\0';
	return true;
}

static void
refuse_root(const char *dir, const struct stat *sb, struct errmsg *err)
{
	const struct passwd *pw = sb->st_uid == 0 ? NULL : getpwuid(sb->st_uid);

	if (sb->st_uid == 0)
		errmsg_set(err,
		    "root does not work on the log here: others may write to "
		    "%s and could have files of root's by links in it: run "
		    "this as the user of pubd (runuser -u USER -- ...)",
		    dir);
	else if (pw != NULL)
		errmsg_set(err,
		    "root does not work on the log here: %s belongs to %s, "
		    "who could have files of root's by links in it: run this "
		    "as that user (runuser -u %s -- ...)",
		    dir, pw->pw_name, pw->pw_name);
	else
		errmsg_set(err,
		    "root does not work on the log here: %s belongs to the "
		    "user %u, who could have files of root's by links in it: "
		    "run this as that user (setpriv --reuid %u --clear-groups "
		    "...)",
		    dir, (unsigned)sb->st_uid, (unsigned)sb->st_uid);
}

/* The real directory of a path. */
static enum status
directory_of(const char *path, char dir[PATH_MAX])
{
	char *copy = strdup(path);
	bool found;

	if (copy == NULL)
		return ST_NOMEM;
	found = realpath(dirname(copy), dir) != NULL;
	free(copy);
	return found ? ST_OK : ST_NOTFOUND;
}

/*
 * The directory, or the nearest one above it that exists; *missing: it does not
 * exist itself, so that nobody can have put a link into it.
 */
static bool
nearest_directory(const char *path, char dir[PATH_MAX], bool *missing)
{
	char *copy = strdup(path), *at = copy;
	bool found;

	*missing = false;
	if (copy == NULL)
		return false;
	do {
		at = dirname(at);
		found = realpath(at, dir) != NULL;
		*missing |= !found;
	} while (!found && strcmp(at, "/") != 0 && strcmp(at, ".") != 0);
	free(copy);
	return found;
}

enum status
owner_check(const char *path, struct errmsg *err)
{
	char dir[PATH_MAX];
	bool is_parent = false;
	struct stat sb;

	if (geteuid() != 0 || !nearest_directory(path, dir, &is_parent))
		return ST_OK;
	do {
		if (stat(dir, &sb) == 0 && others_may_change(&sb, is_parent)) {
			refuse_root(dir, &sb, err);
			return ST_UNSAFE;
		}
		is_parent = true;
	} while (go_up(dir));
	return ST_OK;
}

enum status
owner_real_path(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	enum status st = directory_of(path, dir);
	int n;

	if (st != ST_OK)
		return st;
	n = snprintf(out, size, "%s/%s", dir[1] == '\0' ? "" : dir,
	    slash == NULL ? path : slash + 1);
	return n > 0 && (size_t)n < size ? ST_OK : ST_TOOLARGE;
}

/* ---- owner and mode ------------------------------------------------------ */

/* O_PATH descriptors have no fchmod: by the name that the kernel gives them. */
static int
set_mode(int fd, mode_t mode)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return chmod(name, mode);
}

static bool
set_access(int fd, const struct stat *sb, uid_t uid, gid_t gid, mode_t mode)
{
	bool own = (uid == OWNER_KEEP || uid == sb->st_uid) &&
	    (gid == (gid_t)-1 || gid == sb->st_gid);

	/* chown clears setgid, so the mode comes last. */
	return (own || fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0) &&
	    ((sb->st_mode & 07777) == mode || set_mode(fd, mode) == 0);
}

static enum status
refuse_kind(const char *path, struct errmsg *err)
{
	errmsg_set(err,
	    "%s is a link, or has a second name, or is no plain file: the log "
	    "has files of its own: move it away",
	    path);
	return ST_UNSAFE;
}

/* What is wanted of a file or directory. */
struct owner_access {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* Takes fd. */
static enum status
set_open(int take_fd, const struct stat *sb, const char *path,
    const struct owner_access *a, struct errmsg *err)
{
	bool ok = set_access(take_fd, sb, a->uid, a->gid, a->mode);

	if (!ok)
		errmsg_set(err,
		    "cannot set owner and mode %04o of %s: %s: run this as "
		    "its owner",
		    (unsigned)a->mode, path, strerror(errno));
	(void)close(take_fd);
	return ok ? ST_OK : ST_DENIED;
}

enum status
owner_set_file(const char *path, uid_t uid, gid_t gid, mode_t mode,
    struct errmsg *err)
{
	const struct owner_access a = {uid, gid, mode};
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat sb;

	if (fd < 0)
		return errno == ENOENT ? ST_OK : ST_IO;
	if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) && sb.st_nlink <= 1)
		return set_open(fd, &sb, path, &a, err);
	(void)close(fd);
	return refuse_kind(path, err);
}

enum status
owner_set_directory(const char *path, gid_t gid, mode_t mode,
    struct errmsg *err)
{
	const struct owner_access a = {OWNER_KEEP, gid, mode};
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat sb;

	if (fd < 0)
		return errno == ENOENT ? ST_OK : ST_IO;
	if (fstat(fd, &sb) == 0)
		return set_open(fd, &sb, path, &a, err);
	(void)close(fd); /* UNTESTED: of what is open it does not fail */
	return ST_IO;
}
