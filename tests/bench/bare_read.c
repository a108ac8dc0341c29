/* SPDX-License-Identifier: MIT */
/*
 * bare_read: the floor for replay.  Reads every row of a log in pages and
 * writes its event-stream text to a Unix socket, whose other end a child
 * process drains.  Nothing else: no filter, no protocol, no other client.
 *
 * Prints one JSON object with rows per second.
 */
#include <sqlite3.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../load/tool.h"

#define OUT_BYTES ((size_t)256 * 1024)

struct bare {
	const char *path;
	uint64_t page;
	sqlite3 *db;
	sqlite3_stmt *select;
	int fd;
	char *out;
	size_t len;
	uint64_t rows;
	uint64_t bytes;
};

enum { OPT_DB = 1, OPT_PAGE };

static const struct tool_opt opts[] = {
    {OPT_DB, "db", "FILE", "the log"},
    {OPT_PAGE, "page", "N", "rows in a page (default 256)"},
    {0, NULL, NULL, NULL},
};

static void
drain(int fd)
{
	static char buf[OUT_BYTES];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	_exit(0);
}

static void
flush(struct bare *b)
{
	size_t at = 0;
	ssize_t n;

	while (at < b->len) {
		n = write(b->fd, b->out + at, b->len - at);
		if (n < 0)
			tool_die("write: %s", strerror(errno));
		at += (size_t)n;
	}
	b->bytes += b->len;
	b->len = 0;
}

static void
put(struct bare *b, const char *p, size_t len)
{
	memcpy(b->out + b->len, p, len);
	b->len += len;
}

/* One row as event-stream text; data without line breaks is assumed. */
static void
put_row(struct bare *b, sqlite3_int64 id)
{
	const char *event = (const char *)sqlite3_column_text(b->select, 1);
	const char *data = (const char *)sqlite3_column_text(b->select, 2);
	size_t n = (size_t)sqlite3_column_bytes(b->select, 2);

	if (event == NULL || data == NULL || n > OUT_BYTES / 2)
		tool_die("row %lld: not for this loop", (long long)id);
	if (OUT_BYTES - b->len < n + 256)
		flush(b);
	b->len += (size_t)sprintf(b->out + b->len, "id: %lld\n", (long long)id);
	if (strcmp(event, "message") != 0)
		b->len += (size_t)snprintf(b->out + b->len, 160, "event: %s\n",
		    event);
	put(b, "data: ", 6);
	put(b, data, n);
	put(b, "\n\n", 2);
}

/* The last id of the page, or `after` when there is none. */
static sqlite3_int64
put_page(struct bare *b, sqlite3_int64 after)
{
	sqlite3_int64 id = after;

	sqlite3_bind_int64(b->select, 1, after);
	while (sqlite3_step(b->select) == SQLITE_ROW) {
		id = sqlite3_column_int64(b->select, 0);
		put_row(b, id);
		b->rows++;
	}
	sqlite3_reset(b->select);
	return id;
}

static pid_t
set_up(struct bare *b)
{
	int pair[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		tool_die("socketpair: %s", strerror(errno));
	child = fork(); /* before the database is open */
	if (child < 0)
		tool_die("fork: %s", strerror(errno));
	if (child == 0) {
		close(pair[0]);
		drain(pair[1]);
	}
	close(pair[1]);
	b->fd = pair[0];
	b->out = tool_alloc(1, OUT_BYTES);
	if (sqlite3_open_v2(b->path, &b->db, SQLITE_OPEN_READONLY, NULL) !=
		SQLITE_OK ||
	    sqlite3_prepare_v2(b->db,
		"SELECT id, event, data FROM events WHERE id > ?1"
		" ORDER BY id LIMIT ?2",
		-1, &b->select, NULL) != SQLITE_OK)
		tool_die("%s: %s", b->path, sqlite3_errmsg(b->db));
	sqlite3_bind_int64(b->select, 2, (sqlite3_int64)b->page);
	return child;
}

int
main(int argc, char **argv)
{
	static struct bare b = {.page = 256};
	sqlite3_int64 at = 0, next;
	const char *arg;
	uint64_t begin_us;
	int id, opt = 1;
	pid_t child;
	double s;

	(void)argc;
	while ((id = tool_next_opt("bare_read", opts, argv, &opt, &arg)) != 0) {
		if (id == OPT_DB)
			b.path = arg;
		else
			b.page = tool_u64("--page", arg);
	}
	if (b.path == NULL || b.page == 0)
		tool_die("bare_read: --db is needed");
	child = set_up(&b);
	begin_us = tool_now_us();
	while ((next = put_page(&b, at)) != at)
		at = next;
	flush(&b);
	close(b.fd);
	waitpid(child, NULL, 0);
	s = (double)(tool_now_us() - begin_us) / 1e6;
	printf("{\"rows\":%llu,\"bytes\":%llu,\"seconds\":%.3f,"
	       "\"rows_per_s\":%.0f,\"cpu_s\":%.3f}\n",
	    (unsigned long long)b.rows, (unsigned long long)b.bytes, s,
	    s > 0 ? (double)b.rows / s : 0, tool_cpu_s());
	sqlite3_finalize(b.select);
	sqlite3_close(b.db);
	free(b.out);
	return 0;
}
