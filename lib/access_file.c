/* SPDX-License-Identifier: MIT */
/* The rules in force.  Blocks on two files, and on the user database. */
#include "access_file.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "buf.h"
#include "conf.h"
#include "log.h"
#include "textfile.h"

#define NAME_BYTES 64 /* of a user or group of the host */

static bool
as_string(char *out, struct span name)
{
	if (name.len >= NAME_BYTES || memchr(name.p, '\0', name.len) != NULL)
		return false;
	memcpy(out, name.p, name.len);
	out[name.len] = '\0';
	return true;
}

static bool
find_host_uid(struct span name, int64_t *uid)
{
	char text[NAME_BYTES];
	const struct passwd *pw = as_string(text, name) ? getpwnam(text) : NULL;

	if (pw != NULL)
		*uid = (int64_t)pw->pw_uid;
	return pw != NULL;
}

static bool
find_host_gid(struct span name, int64_t *gid)
{
	char text[NAME_BYTES];
	const struct group *gr = as_string(text, name) ? getgrnam(text) : NULL;

	if (gr != NULL)
		*gid = (int64_t)gr->gr_gid;
	return gr != NULL;
}

/* An empty file is a text, too: its p must not be NULL. */
static struct span
text_of(const struct buf *b)
{
	return b->len == 0 ? SPAN("") : buf_span(b);
}

static enum status
read_rules(const struct conf *c, struct access **out, struct errmsg *err)
{
	struct access_source src = {.name = c->access,
	    .groups = SPAN_NONE,
	    .groups_name = c->groups,
	    .find_uid = find_host_uid,
	    .find_gid = find_host_gid};
	struct buf text, groups;
	struct stat sb;
	enum status st;

	buf_init(&text, ACCESS_MAX_BYTES);
	buf_init(&groups, ACCESS_MAX_BYTES);
	st = textfile_read(c->access, "the access file", &text, &sb, err);
	if (st == ST_OK && c->groups[0] != '\0') {
		st = textfile_read(c->groups, "the file of groups", &groups,
		    &sb, err);
		src.groups = text_of(&groups);
	}
	src.text = text_of(&text);
	if (st == ST_OK)
		st = access_parse(out, &src, err);
	buf_fini(&text);
	buf_fini(&groups);
	return st;
}

enum status
access_file_open(struct access_file *f, const struct conf *c,
    struct errmsg *err)
{
	*f = (struct access_file){.is_set = c->access[0] != '\0'};
	return f->is_set ? read_rules(c, &f->rules, err) : ST_OK;
}

static void
log_odd_line(void *arg, unsigned line, const char *text)
{
	log_warnx("%s:%u: %s", (const char *)arg, line, text);
}

enum status
access_file_check(const struct conf *c, struct errmsg *err)
{
	char name[CONF_PATH_MAX];
	struct access_file f;
	enum status st = access_file_open(&f, c, err);

	memcpy(name, c->access, sizeof(name));
	if (st == ST_OK && f.is_set)
		access_warnings(f.rules, log_odd_line, name);
	access_file_close(&f);
	return st;
}

enum status
access_file_reload(struct access_file *f, const struct conf *c,
    struct errmsg *err)
{
	struct access *fresh = NULL;
	enum status st;

	if (!f->is_set)
		return ST_OK;
	st = read_rules(c, &fresh, err);
	if (st != ST_OK)
		return st;
	access_free(&f->rules);
	f->rules = fresh;
	f->edition++;
	return ST_OK;
}

void
access_file_close(struct access_file *f)
{
	access_free(&f->rules);
}
