/* SPDX-License-Identifier: MIT */
/*
 * The status table under kill -9, at each write that SQLite makes: before it,
 * and when half of it is done.  Whatever was in the way, nothing that was
 * counted is lost and nothing counts twice.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "metrics.h"
#include "statusdb.h"
#include "tmpdir.h"
#include "unit.h"

#define LEASE_MS 500

/* ---- dying at a write --------------------------------------------------- */

static struct {
	long left; /* writes until the death; 0: none comes */
	bool half; /* of the last one is done */
} death;

/* In the place of libc's, which SQLite calls. */
ssize_t pwrite64(int fd, const void *p, size_t n, off_t at);

ssize_t
pwrite64(int fd, const void *p, size_t n, off_t at)
{
	bool dies = death.left > 0 && --death.left == 0;

	if (dies && death.half)
		(void)syscall(SYS_pwrite64, fd, p, n / 2, at);
	if (dies)
		(void)kill(getpid(), SIGKILL);
	return syscall(SYS_pwrite64, fd, p, n, at);
}

/* ---- a life ------------------------------------------------------------- */

/* Each of them can be done twice. */
static const struct step {
	const char *put, *counters; /* the row, or */
	const char *remove;         /* its name, or */
	int64_t expire_ms;
	uint64_t sent; /* all that was counted, behind it */
} steps[] = {
    {.put = "a", .counters = "{\"events_sent\":5}", .sent = 5},
    {.put = "b", .counters = "{\"events_sent\":7}", .sent = 12},
    {.remove = "a", .sent = 12},
    {.put = "a", .counters = "{\"events_sent\":6}", .sent = 13},
    {.put = "a", .counters = "{\"events_sent\":2}", .sent = 15},
    {.expire_ms = 1600, .sent = 15},
    {.put = "b", .counters = "{\"events_sent\":8}", .sent = 16},
    {.remove = "b", .sent = 16},
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static enum status
take_step(struct statusdb *db, const struct step *s)
{
	const struct status_row row = {.name = span_str(s->put),
	    .role = SPAN("worker"),
	    .version = SPAN("0"),
	    .seen_ms = 1000,
	    .lease_ms = LEASE_MS,
	    .counters = span_str(s->counters),
	    .gauges = SPAN("{}")};

	if (s->put != NULL)
		return statusdb_put(db, &row, 1);
	if (s->remove != NULL)
		return statusdb_remove(db, span_str(s->remove), 1500);
	return statusdb_expire(db, s->expire_ms);
}

/* Takes the steps from *done on, and tells by it how many there were. */
static enum status
live(const char *log, volatile size_t *done)
{
	struct statusdb *db = NULL;
	struct errmsg err = {""};
	enum status st = statusdb_open(&db, log, true, &err);

	while (st == ST_OK && *done < N_STEPS) {
		st = take_step(db, &steps[*done]);
		if (st == ST_OK)
			(*done)++;
	}
	statusdb_close(&db);
	return st;
}

static void
add_row(void *arg, const struct status_row *row)
{
	struct metrics f = {.cell = {0}};
	uint64_t *sent = arg;
	unsigned n_unknown = 0;

	assert_status(
	    metrics_read(&f, METRICS_COUNTERS, row->counters, &n_unknown),
	    ST_OK);
	*sent += f.cell[METRIC_EVENTS_SENT];
}

/* What a reader counts; nothing, before the table is there. */
static uint64_t
sent_of(const char *log)
{
	struct statusdb *db = NULL;
	struct errmsg err = {""};
	uint64_t sent = 0;

	if (statusdb_open(&db, log, false, &err) != ST_OK)
		return 0;
	assert_status(statusdb_each(db, add_row, &sent), ST_OK);
	statusdb_close(&db);
	return sent;
}

/* Lives in a process of its own; true when it died of it. */
static bool
dies_at(const char *log, long write, bool half, volatile size_t *done)
{
	pid_t pid = fork();
	int how = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		death.left = write;
		death.half = half;
		_exit(live(log, done) == ST_OK ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &how, 0), pid);
	if (WIFEXITED(how))
		assert_int_equal(WEXITSTATUS(how), 0);
	return WIFSIGNALED(how);
}

static bool
survives_a_death_at(long write, bool half, volatile size_t *done)
{
	char log[PATH_BYTES];
	void *dir = NULL;
	uint64_t sent, before, after;
	bool died;

	assert_int_equal(tmpdir_setup(&dir), 0);
	(void)snprintf(log, sizeof(log), "%s/events.db", (char *)dir);
	tmpdir_write(log, "", 0);
	*done = 0;
	died = dies_at(log, write, half, done);
	before = *done > 0 ? steps[*done - 1].sent : 0;
	after = *done < N_STEPS ? steps[*done].sent : before;
	sent = sent_of(log);
	assert_true(sent == before || sent == after);
	/* Who comes after goes on as if nothing had been. */
	assert_status(live(log, done), ST_OK);
	assert_int_equal(sent_of(log), steps[N_STEPS - 1].sent);
	assert_int_equal(tmpdir_teardown(&dir), 0);
	return died;
}

static void
no_death_loses_a_count_or_doubles_it(void **state)
{
	volatile size_t *done = mmap(NULL, sizeof(*done),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long write;
	int half;

	(void)state;
	assert_ptr_not_equal(done, MAP_FAILED);
	for (half = 0; half < 2; half++) {
		for (write = 1; survives_a_death_at(write, half == 1, done);)
			write++;
		/* The deaths were there: each step writes. */
		assert_true(write > (long)N_STEPS);
	}
	assert_int_equal(munmap((void *)(uintptr_t)done, sizeof(*done)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_death_loses_a_count_or_doubles_it),
	};

	return RUN(tests);
}
