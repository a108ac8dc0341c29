/* SPDX-License-Identifier: MIT */
/* A program that only notes what it was given. */
#include "program.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include "capture.h"
#include "tmpdir.h"
#include "unit.h"

static const char *address;
static int n_acts, n_serves, n_checks;
static enum status outcome;
static struct program program;

static int
act(void)
{
	n_acts++;
	return 5;
}

static enum status
check(const struct conf *c, struct errmsg *err)
{
	(void)c;
	n_checks++;
	if (outcome != ST_OK)
		errmsg_set(err, "not with this log");
	return outcome;
}

static enum status
serve(struct program *p, struct errmsg *err)
{
	sigset_t held;

	(void)err;
	n_serves++;
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &held), 0);
	assert_true(sigismember(&held, SIGTERM) == 1);
	assert_ptr_equal(p, &program);
	return outcome;
}

static int
setup(void **state)
{
	static const struct program_option options[] = {
	    {.letter = 'l',
		.name = "listen",
		.argument = "ADDRESS",
		.sentence = "somewhere",
		.value = &address},
	    {.name = "act", .sentence = "something", .act = act},
	};

	(void)unsetenv("WALCAST_CONF");
	address = NULL;
	n_acts = n_serves = n_checks = 0;
	outcome = ST_OK;
	optind = 0; /* getopt starts afresh */
	program = (struct program){.name = "prog",
	    .conf_user = CONF_WORKER,
	    .options = options,
	    .n_options = 2,
	    .check = check,
	    .serve = serve};
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	sigset_t none;

	capture_stop();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	return tmpdir_teardown(state);
}

/* What it writes to standard output is nobody's business here. */
static int
run_with(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = {"prog", a, b, c, d, NULL};
	int argc = 1, rc, out, null;

	while (argv[argc] != NULL)
		argc++;
	(void)fflush(stdout);
	out = dup(STDOUT_FILENO);
	null = open("/dev/null", O_WRONLY);
	assert_int_equal(dup2(null, STDOUT_FILENO), STDOUT_FILENO);
	optind = 0;
	rc = program_main(&program, argc, (char **)(uintptr_t)argv);
	(void)fflush(stdout);
	assert_int_equal(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
	(void)close(out);
	(void)close(null);
	return rc;
}

static const char *
conf_of(void **state, const char *text)
{
	const char *path = tmpdir_path(*state, "w.conf");

	tmpdir_write(path, text, strlen(text));
	return path;
}

static void
its_own_options_and_those_of_all_are_taken(void **state)
{
	const char *conf = conf_of(state, "drain_ms = 7\nlog_level = error\n");

	assert_int_equal(run_with("--listen", "here", "--config", conf), 0);
	assert_string_equal(address, "here");
	assert_int_equal(program.conf.drain_ms, 7);
	assert_int_equal(run_with("-lthere", "-c", conf, NULL), 0);
	assert_string_equal(address, "there");
	assert_int_equal(n_serves, 2);
	assert_int_equal(n_acts + n_checks, 0);
	assert_int_equal(run_with("--act", NULL, NULL, NULL), 5);
	assert_int_equal(n_acts, 1);
	assert_int_equal(run_with("-V", NULL, NULL, NULL), PROGRAM_OK);
	assert_int_equal(run_with("--help", NULL, NULL, NULL), PROGRAM_OK);
	assert_int_equal(n_serves, 2);
}

static void
a_wrong_command_line_ends_it_with_64(void **state)
{
	static const char *const rows[][2] = {{"stray", NULL}, {"-c", NULL},
	    {"-x", NULL}, {"--nonsense", NULL}, {"--listen", NULL},
	    {"--act=x", NULL}, {"-n", "stray"}, {"--", "stray"}, {"", NULL}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		capture_begin();
		assert_int_equal(run_with(rows[i][0], rows[i][1], NULL, NULL),
		    PROGRAM_USAGE);
		assert_non_null(strstr(capture_end().p, "usage: prog"));
	}
	assert_int_equal(n_serves + n_checks + n_acts, 0);
}

static void
a_wrong_configuration_ends_it_with_78(void **state)
{
	const char *conf = conf_of(state, "drain_ms = x\n");

	capture_begin();
	assert_int_equal(run_with("-c", conf, NULL, NULL), PROGRAM_CONFIG);
	assert_int_equal(run_with("-n", "-c", conf, NULL), PROGRAM_CONFIG);
	assert_non_null(strstr(capture_end().p, "w.conf:1: drain_ms"));
	assert_int_equal(n_serves + n_checks, 0);
}

static void
a_check_runs_nothing(void **state)
{
	const char *conf = conf_of(state, "");

	assert_int_equal(run_with("-n", "-c", conf, NULL), PROGRAM_OK);
	outcome = ST_DENIED;
	program.check_only = false;
	capture_begin();
	assert_int_equal(run_with("-n", "-c", conf, NULL), PROGRAM_CONFIG);
	assert_non_null(strstr(capture_end().p, "not with this log"));
	assert_int_equal(n_checks, 2);
	assert_int_equal(n_serves, 0);
}

static void
a_failure_is_told_and_is_1(void **state)
{
	const char *conf = conf_of(state, "");

	outcome = ST_NOMEM;
	capture_begin();
	assert_int_equal(run_with("-c", conf, NULL, NULL), PROGRAM_FAILED);
	assert_non_null(strstr(capture_end().p, status_name(ST_NOMEM)));
}

/* Reads the text as on HUP; what it logs. */
static const char *
reloaded(void **state, const char *text, bool taken)
{
	bool got;
	const char *said;

	(void)conf_of(state, text);
	capture_begin();
	got = program_reload(&program);
	said = capture_end().p;
	assert_int_equal(got, taken);
	return said;
}

static void
on_hup_it_takes_what_may_change_and_names_the_rest(void **state)
{
	const char *said, *conf = conf_of(state, "log_level = error\n");

	assert_int_equal(run_with("-c", conf, NULL, NULL), 0);
	said = reloaded(state,
	    "log_level = info\ndrain_ms = 8\nring_bytes = 70000\n"
	    "synchronous = normal\n",
	    true);
	assert_int_equal(program.conf.drain_ms, 8);
	assert_int_equal(program.conf.ring_bytes, 33554432);
	assert_non_null(
	    strstr(said, "ring_bytes has changed: restart prog for it"));
	assert_null(strstr(said, "synchronous")); /* pubd's alone */
	/* log_level was taken first, else neither would be there. */
	assert_non_null(strstr(said, "configuration read again"));
}

static void
on_hup_a_wrong_file_changes_nothing(void **state)
{
	const char *said, *conf = conf_of(state, "drain_ms = 7\n");

	assert_int_equal(run_with("-c", conf, NULL, NULL), 0);
	said = reloaded(state, "drain_ms = 8\nlog_level = loud\n", false);
	assert_non_null(strstr(said, "keeping the old configuration"));
	assert_non_null(strstr(said, "w.conf:2: log_level"));
	assert_int_equal(program.conf.drain_ms, 7);
}

static void
descriptors_that_are_closed_are_filled(void **state)
{
	int in = dup(STDIN_FILENO), next;

	(void)state;
	(void)close(STDIN_FILENO);
	program_fill_std_fds();
	next = dup(STDERR_FILENO);
	assert_true(next > STDERR_FILENO);
	(void)close(next);
	assert_int_equal(dup2(in, STDIN_FILENO), STDIN_FILENO);
	(void)close(in);
	/* None more than that is kept. */
	program_fill_std_fds();
	assert_int_equal(dup(STDERR_FILENO), in);
	(void)close(in);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(its_own_options_and_those_of_all_are_taken),
	    T(a_wrong_command_line_ends_it_with_64),
	    T(a_wrong_configuration_ends_it_with_78),
	    T(a_check_runs_nothing),
	    T(a_failure_is_told_and_is_1),
	    T(on_hup_it_takes_what_may_change_and_names_the_rest),
	    T(on_hup_a_wrong_file_changes_nothing),
	    T(descriptors_that_are_closed_are_filled),
	};

	return RUN(tests);
}
