/* SPDX-License-Identifier: MIT */
/*
 * bare_commit: the floor for durable publishing.  One connection, the log's
 * own schema and insert, WAL, synchronous=FULL, B rows in a transaction, and
 * nothing else: no socket, no parsing, no answer.
 *
 * Prints one JSON object with rows per second and the time of a commit.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../load/hist.h"
#include "../load/tool.h"

/* Where sql/ is not at hand: the same columns, without its guards. */
static const char fallback_schema[] =
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " ts INTEGER, channel TEXT, event TEXT DEFAULT 'message', key TEXT,"
    " trace TEXT, prev INTEGER, data TEXT NOT NULL) STRICT;";

static const char append_sql[] =
    "INSERT INTO events (ts, channel, event, key, trace, prev, data)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

struct bare {
	const char *path;
	const char *schema;
	const char *synchronous;
	uint64_t rows;
	uint64_t batch;
	size_t data_bytes;
	double max_s;
	sqlite3 *db;
	sqlite3_stmt *append;
	char *data;
	struct hist commits;
};

enum {
	OPT_DB = 1,
	OPT_SCHEMA,
	OPT_SYNC,
	OPT_ROWS,
	OPT_BATCH,
	OPT_SIZE,
	OPT_MAX_TIME,
};

static const struct tool_opt opts[] = {
    {OPT_DB, "db", "FILE", "new database; must not exist"},
    {OPT_SCHEMA, "schema", "FILE", "SQL that creates the tables"},
    {OPT_SYNC, "synchronous", "MODE", "default FULL"},
    {OPT_ROWS, "rows", "N", "default 100000"},
    {OPT_BATCH, "batch", "B", "rows in a transaction (default 100)"},
    {OPT_SIZE, "size", "BYTES", "of data in a row (default 200)"},
    {OPT_MAX_TIME, "max-time", "S", "stop earlier (default 60)"},
    {0, NULL, NULL, NULL},
};

static void
parse(struct bare *b, char **argv)
{
	const char *arg;
	int id, at = 1;

	b->synchronous = "FULL";
	b->rows = 100000;
	b->batch = 100;
	b->data_bytes = 200;
	b->max_s = 60;
	while (
	    (id = tool_next_opt("bare_commit", opts, argv, &at, &arg)) != 0) {
		if (id == OPT_DB)
			b->path = arg;
		else if (id == OPT_SCHEMA)
			b->schema = arg;
		else if (id == OPT_SYNC)
			b->synchronous = arg;
		else if (id == OPT_ROWS)
			b->rows = tool_u64("--rows", arg);
		else if (id == OPT_BATCH)
			b->batch = tool_u64("--batch", arg);
		else if (id == OPT_SIZE)
			b->data_bytes = tool_u64("--size", arg);
		else
			b->max_s = tool_double("--max-time", arg);
	}
	if (b->path == NULL || b->batch == 0 || b->rows == 0)
		tool_die("bare_commit: --db is needed, numbers above 0");
	if (access(b->path, F_OK) == 0)
		tool_die("%s exists", b->path);
}

static void
run_sql(struct bare *b, const char *sql)
{
	if (sqlite3_exec(b->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		tool_die("%s: %s", sql, sqlite3_errmsg(b->db));
}

static char *
read_schema(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "r");
	size_t n;

	if (f == NULL)
		tool_die("%s: cannot read", path);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	if (n == 0 || n == sizeof(text) - 1)
		tool_die("%s: empty or too long", path);
	text[n] = '\0';
	return text;
}

static void
set_up(struct bare *b)
{
	char sql[64];
	size_t i;

	if (sqlite3_open(b->path, &b->db) != SQLITE_OK)
		tool_die("%s: %s", b->path, sqlite3_errmsg(b->db));
	run_sql(b, "PRAGMA journal_mode=WAL");
	snprintf(sql, sizeof(sql), "PRAGMA synchronous=%s", b->synchronous);
	run_sql(b, sql);
	run_sql(b,
	    b->schema != NULL ? read_schema(b->schema) : fallback_schema);
	/* As pubd's own connection: it has checked what it appends. */
	sqlite3_db_config(b->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	run_sql(b, "PRAGMA ignore_check_constraints=ON");
	if (sqlite3_prepare_v2(b->db, append_sql, -1, &b->append, NULL) !=
	    SQLITE_OK)
		tool_die("%s: %s", append_sql, sqlite3_errmsg(b->db));
	b->data = tool_alloc(1, b->data_bytes + 1);
	for (i = 0; i < b->data_bytes; i++)
		b->data[i] = (char)('a' + i % 26);
}

static void
append(struct bare *b, uint64_t row)
{
	sqlite3_stmt *s = b->append;

	sqlite3_bind_int64(s, 1, 1700000000000 + (sqlite3_int64)row);
	sqlite3_bind_text(s, 2, "c0", 2, SQLITE_STATIC);
	sqlite3_bind_text(s, 3, "message", 7, SQLITE_STATIC);
	sqlite3_bind_int64(s, 6, (sqlite3_int64)row);
	sqlite3_bind_text(s, 7, b->data, (int)b->data_bytes, SQLITE_STATIC);
	if (sqlite3_step(s) != SQLITE_DONE)
		tool_die("insert: %s", sqlite3_errmsg(b->db));
	sqlite3_reset(s);
}

static uint64_t
commit_batch(struct bare *b, uint64_t row)
{
	uint64_t end = row + b->batch, begin_us = tool_now_us();

	if (end > b->rows)
		end = b->rows;
	run_sql(b, "BEGIN IMMEDIATE");
	for (; row < end; row++)
		append(b, row);
	run_sql(b, "COMMIT");
	hist_add(&b->commits, tool_now_us() - begin_us);
	return row;
}

int
main(int argc, char **argv)
{
	static struct bare b;
	uint64_t row = 0, begin_us;
	double s = 0;

	(void)argc;
	parse(&b, argv);
	set_up(&b);
	begin_us = tool_now_us();
	while (row < b.rows && s < b.max_s) {
		row = commit_batch(&b, row);
		s = (double)(tool_now_us() - begin_us) / 1e6;
	}
	printf("{\"rows\":%llu,\"batch\":%llu,\"seconds\":%.3f,"
	       "\"rows_per_s\":%.0f,\"commit_us\":",
	    (unsigned long long)row, (unsigned long long)b.batch, s,
	    (double)row / s);
	hist_print(&b.commits, stdout);
	printf(",\"cpu_s\":%.3f}\n", tool_cpu_s());
	sqlite3_finalize(b.append);
	sqlite3_close(b.db);
	free(b.data);
	return 0;
}
