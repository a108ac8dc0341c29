/* SPDX-License-Identifier: MIT */
/* A log in a temporary directory. */
#include "riglog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tmpdir.h"

/* In a test nothing of this may fail. */
static void
must(enum status st, const char *what)
{
	if (st == ST_OK)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, status_name(st));
	abort();
}

static void
open_log(struct rig_log *l)
{
	struct store_options o = {.path = l->path};
	struct errmsg err = {""};

	must(store_create(l->path, STORE_OPEN, NULL, &err), err.text);
	must(store_writer_open(&l->w, &o, &err), err.text);
	must(store_reader_open(&l->r, &o, &err), err.text);
	must(db_open(&l->sql, l->path, DB_WRITE, &err), err.text);
	db_trust_writer(l->sql);
}

static void
close_log(struct rig_log *l)
{
	db_close(&l->sql);
	store_reader_close(&l->r);
	store_writer_close(&l->w);
}

void
rig_log_init(struct rig_log *l)
{
	void *tmp = NULL;
	int rc = tmpdir_setup(&tmp);

	assert(rc == 0);
	(void)rc;
	memset(l, 0, sizeof(*l));
	l->tmp = tmp;
	(void)snprintf(l->path, sizeof(l->path), "%s/log/events.db", l->tmp);
	open_log(l);
}

void
rig_log_fini(struct rig_log *l)
{
	void *tmp = l->tmp;

	close_log(l);
	(void)tmpdir_teardown(&tmp);
}

void
rig_log_add(struct rig_log *l, const char *channel, struct span data, int n)
{
	must(store_begin(l->w), "begin");
	while (n-- > 0) {
		struct event e = {
		    .channel = span_str(channel),
		    .event = SPAN("message"),
		    .kind = EVENT_DATA_TEXT,
		    .data = data,
		    .ts_ms = 1000,
		};

		must(store_append(l->w, &e), "append");
	}
	must(store_commit(l->w), "commit");
}

void
rig_log_trim(struct rig_log *l, int64_t max_events)
{
	struct store_retain keep = {.max_events = max_events, .max_rows = 1000};
	bool more = true;
	int n;

	while (more)
		must(store_trim(l->w, &keep, &n, &more), "trim");
}

void
rig_log_sql(struct rig_log *l, const char *sql)
{
	must(db_exec(l->sql, sql), db_error(l->sql));
}

void
rig_log_replace(struct rig_log *l)
{
	char file[300];

	close_log(l);
	(void)unlink(l->path);
	(void)snprintf(file, sizeof(file), "%s-wal", l->path);
	(void)unlink(file);
	(void)snprintf(file, sizeof(file), "%s-shm", l->path);
	(void)unlink(file);
	open_log(l);
}
