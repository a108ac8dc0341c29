/* SPDX-License-Identifier: MIT */
/* What is remembered of an application's answers, with a socket as php-fpm. */
#include "authorizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "log.h"
#include "loop.h"
#include "sock.h"
#include "tmpdir.h"
#include "unit.h"

#define END_OK "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"
#define YES_A  "X-Walcast-Channels: a\nX-Walcast-User: u\n"
#define YES_AB "X-Walcast-Channels: a b\nX-Walcast-User: u\n"
#define NO     "Status: 403\n"

static struct fixture {
	void *tmp;
	struct conf conf;
	struct loop *loop;
	struct authorizer *a;
	int listener;
	int n_questions; /* that came to the socket */
} f;

static int
setup(void **state)
{
	struct errmsg err;
	const char *path;

	(void)state;
	memset(&f, 0, sizeof(f));
	log_init("test", LOG_TEXT, LOG_ERROR_);
	if (tmpdir_setup(&f.tmp) != 0 || loop_new(&f.loop) != ST_OK)
		return -1;
	conf_defaults(&f.conf);
	path = tmpdir_path(f.tmp, "sock");
	(void)snprintf(f.conf.authorizer, sizeof(f.conf.authorizer),
	    "fcgi:%s:/x.php", path);
	if (sock_listen_unix(path, 0600, &f.listener, &err) != ST_OK)
		return -1;
	return authorizer_new(&f.a, f.loop, &f.conf) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	authorizer_free(&f.a);
	loop_free(&f.loop);
	(void)close(f.listener);
	return tmpdir_teardown(&f.tmp);
}

/* ---- the application ----------------------------------------------------- */

/* Bytes that are left unread would reset the connection. */
static void
read_question(int fd)
{
	static char text[1 << 19];
	static const char end[] = "\1\5\0\1\0\0\0\0"; /* empty STDIN */
	size_t n, len = 0;

	do {
		assert_status(loop_turn(f.loop, 0), ST_OK);
		if (sock_read(fd, text + len, sizeof(text) - len, &n) == ST_OK)
			len += n;
	} while (len < 8 || memcmp(text + len - 8, end, 8) != 0);
}

/* Takes a question if there is one, and answers it so; the end may differ. */
static void
answer_one(const char *head, const char *end)
{
	char text[4096] = {1, 6, 0, 1};
	size_t n = strlen(head) + 1;
	int fd;

	if (sock_accept(f.listener, &fd) != ST_OK)
		return;
	f.n_questions++;
	read_question(fd);
	text[5] = (char)n;
	memcpy(text + 8, head, n - 1);
	text[8 + n - 1] = '\n';
	memcpy(text + 8 + n, end, sizeof(END_OK) - 1);
	assert_true(write(fd, text, 8 + n + sizeof(END_OK) - 1) > 0);
	(void)close(fd);
}

static void
on_done(void *arg, struct authorizer_answer *answer)
{
	*(struct authorizer_answer **)arg = authorizer_ref(answer);
}

static struct authorizer_question
question_of(const char *cookie, const struct span *channel, size_t n)
{
	return (struct authorizer_question){.cookie = span_str(cookie),
	    .address = SPAN("192.0.2.1"),
	    .channels = {channel, n}};
}

static enum authorizer_result
ask_with(const char *cookie, struct span channel, bool fresh, const char *head,
    const char *end)
{
	struct authorizer_question q = question_of(cookie, &channel, 1);
	struct authorizer_answer *got = NULL;
	struct authorizer_wait *wait;
	enum authorizer_result result;

	assert_status(authorizer_ask(f.a, &q, fresh, on_done, &got, &wait),
	    ST_OK);
	assert_null(got); /* never before it returns */
	while (got == NULL) {
		assert_status(loop_turn(f.loop, 10000), ST_OK);
		answer_one(head, end);
	}
	result = got->result;
	authorizer_unref(&got);
	return result;
}

static enum authorizer_result
ask(const char *cookie, struct span channel, bool fresh, const char *head)
{
	return ask_with(cookie, channel, fresh, head, END_OK);
}

/* ---- tests --------------------------------------------------------------- */

static void
answer_is_remembered_for_all_that_it_covers(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_AB),
	    AUTHORIZER_ALLOWED);
	assert_int_equal(ask("s", SPAN("b"), false, NO), AUTHORIZER_ALLOWED);
	assert_int_equal(f.n_questions, 1);
	assert_int_equal(ask("s", SPAN("c"), false, NO), AUTHORIZER_REFUSED);
	assert_int_equal(f.n_questions, 2);
}

static void
answer_is_not_for_another_credential(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_A), AUTHORIZER_ALLOWED);
	assert_int_equal(ask("t", SPAN("a"), false, NO), AUTHORIZER_REFUSED);
	assert_int_equal(ask("", SPAN("a"), false, NO), AUTHORIZER_REFUSED);
	assert_int_equal(f.n_questions, 3);
}

static void
answer_that_is_newer_counts(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_AB),
	    AUTHORIZER_ALLOWED);
	assert_int_equal(ask("s", SPAN("b"), true, NO), AUTHORIZER_REFUSED);
	assert_int_equal(ask("s", SPAN("a"), false, NO), AUTHORIZER_REFUSED);
	assert_int_equal(f.n_questions, 3);
}

static void
answer_that_allows_less_takes_back_the_rest(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_AB),
	    AUTHORIZER_ALLOWED);
	/* Asked for b, and told that it is a alone. */
	assert_int_equal(ask("s", SPAN("b"), true, YES_A), AUTHORIZER_ALLOWED);
	assert_int_equal(authorizer_n_remembered(f.a), 1);
}

static void
answer_without_age_is_not_remembered(void **state)
{
	(void)state;
	assert_int_equal(
	    ask("s", SPAN("a"), false, YES_A "X-Walcast-Max-Age: 0\n"),
	    AUTHORIZER_ALLOWED);
	assert_int_equal(ask("s", SPAN("a"), false, NO), AUTHORIZER_REFUSED);
}

static void
failure_does_not_hide_an_answer_that_holds(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_A), AUTHORIZER_ALLOWED);
	assert_int_equal(ask("s", SPAN("a"), true, "Status: 500\n"),
	    AUTHORIZER_ERROR);
	assert_int_equal(ask("s", SPAN("a"), false, NO), AUTHORIZER_ALLOWED);
	assert_int_equal(f.n_questions, 2);
}

static void
script_that_ended_with_an_error_allows_nothing(void **state)
{
	(void)state;
	assert_int_equal(ask_with("s", SPAN("a"), false, YES_A,
			     "\1\3\0\1\0\10\0\0\0\0\0\377\0\0\0\0"),
	    AUTHORIZER_ERROR);
	assert_int_equal(ask_with("t", SPAN("a"), false, YES_A,
			     "\1\3\0\1\0\10\0\0\0\0\0\0\2\0\0\0"),
	    AUTHORIZER_ERROR);
}

static void
user_who_is_forgotten_is_asked_about_anew(void **state)
{
	(void)state;
	assert_int_equal(ask("s", SPAN("a"), false, YES_A), AUTHORIZER_ALLOWED);
	authorizer_forget(f.a, SPAN("another"));
	assert_int_equal(ask("s", SPAN("a"), false, NO), AUTHORIZER_ALLOWED);
	authorizer_forget(f.a, SPAN("u"));
	assert_int_equal(ask("s", SPAN("a"), false, NO), AUTHORIZER_REFUSED);
}

static void
memory_is_bounded_in_bytes(void **state)
{
	static char cookie[200000];
	int i;

	(void)state;
	memset(cookie, 'c', sizeof(cookie) - 1);
	for (i = 0; i < 100; i++) {
		cookie[0] = (char)('A' + i % 26);
		cookie[1] = (char)('A' + i / 26);
		assert_int_equal(ask(cookie, SPAN("a"), false, NO),
		    AUTHORIZER_REFUSED);
	}
	assert_true(authorizer_n_remembered(f.a) < 90);
	assert_true(authorizer_n_remembered(f.a) > 10);
}

#define TEST(fn) cmocka_unit_test_setup_teardown((fn), setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(answer_is_remembered_for_all_that_it_covers),
	    TEST(answer_is_not_for_another_credential),
	    TEST(answer_that_is_newer_counts),
	    TEST(answer_that_allows_less_takes_back_the_rest),
	    TEST(answer_without_age_is_not_remembered),
	    TEST(failure_does_not_hide_an_answer_that_holds),
	    TEST(script_that_ended_with_an_error_allows_nothing),
	    TEST(user_who_is_forgotten_is_asked_about_anew),
	    TEST(memory_is_bounded_in_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
