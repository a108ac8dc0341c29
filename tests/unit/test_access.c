/* SPDX-License-Identifier: MIT */
/* Rules: the parser, and who may do what by them. */
#include <string.h>

#include "access.h"
#include "unit.h"

static const char the_rules[] =
    "# who reads\n"
    "anyone                          read     news public.*\n"
    "user                            read     user.$user user.$user.*\n"
    "user alice bob@example.com      read     admin.*\n"
    "group staff                     read     staff.*   # by htgroup\n"
    "env OIDC_CLAIM_tenant           read     tenant.$value.*\n"
    "env SSL_CLIENT_VERIFY=SUCCESS   read     devices.*\n"
    "token                           read,publish  *\n"
    "app                             read      app.*\n"
    "uid 33                          publish  orders.* rate=2000/s burst=500\n"
    "gid 1000                        publish,revoke  logs.*\n"
    "uid 34                          report\n"
    "env SSL_CLIENT_S_DN_CN          read     cert.$value\n"
    "user                            read     box.$user_label.*\n";
static const char the_groups[] = "staff: alice carol\nother:\nstaff: dave\n";

static struct access *
parsed_access(const char *text, const char *groups)
{
	struct access_source src = {.text = span_str(text),
	    .groups = groups == NULL ? SPAN_NONE : span_str(groups),
	    .name = "f"};
	struct access *a = NULL;
	struct errmsg err = {""};
	enum status st = access_parse(&a, &src, &err);

	if (st != ST_OK)
		print_error("%s\n", err.text);
	assert_status(st, ST_OK);
	return a;
}

static const struct env_row {
	const char *name, *value;
} * env_rows;

static struct span
env_row_of(void *arg, struct span name)
{
	const struct env_row *r;

	(void)arg;
	for (r = env_rows; r != NULL && r->name != NULL; r++)
		if (span_eq(name, span_str(r->name)))
			return span_str(r->value);
	return SPAN_NONE;
}

/* One who asks, and what he may. */
static const struct access_case {
	const char *user;
	struct env_row env[3];
	const char *token, *app; /* one pattern each */
	int64_t uid, gid;        /* 0: none */
	enum access_op op;
	const char *channel;
	unsigned line; /* that allows it; 0: none */
} cases[] = {
    /* anyone */
    {.channel = "news", .line = 2},
    {.channel = "news.a"},
    {.channel = "new"},
    {.channel = "public.", .line = 2},
    {.channel = "public.a", .line = 2},
    {.channel = "public.*", .line = 2},
    {.channel = "public.a*", .line = 2},
    {.channel = "public"},
    {.channel = "publicity"},
    {.channel = "public*"},
    {.channel = "*"},
    {.channel = "news*"},
    {.op = ACCESS_PUBLISH, .channel = "news"},
    /* users */
    {.channel = "user.alice"},
    {.user = "alice", .channel = "user.alice", .line = 3},
    {.user = "alice", .channel = "user.alice.inbox", .line = 3},
    {.user = "alice", .channel = "user.alice.*", .line = 3},
    {.user = "alice", .channel = "user.alice*"},
    {.user = "alice", .channel = "user.alicex"},
    {.user = "alice", .channel = "user.bob"},
    {.user = "alice", .channel = "user.*"},
    {.user = "Alice", .channel = "user.alice"},
    {.user = "bob@example.com", .channel = "user.bob@example.com", .line = 3},
    {.user = "a b*%", .channel = "user.a%20b%2A%25", .line = 3},
    {.user = "*", .channel = "user.x"},
    {.user = "*", .channel = "user.%2A", .line = 3},
    {.user = "", .channel = "user."},
    {.user = "", .channel = "user..x"},
    {.user = "alice", .channel = "admin.x", .line = 4},
    {.user = "bob", .channel = "admin.x"},
    {.user = "alice", .op = ACCESS_PUBLISH, .channel = "admin.x"},
    {.user = "a.b/c@d", .channel = "box.a%2Eb%2Fc@d.x", .line = 14},
    {.user = "a.b", .channel = "box.a.b.x"},
    /* groups */
    {.user = "alice", .channel = "staff.x", .line = 5},
    {.user = "dave", .channel = "staff.*", .line = 5},
    {.user = "bob", .channel = "staff.x"},
    {.channel = "staff.x"},
    /* variables of the vhost */
    {.env = {{"OIDC_CLAIM_tenant", "acme"}},
	.channel = "tenant.acme.x",
	.line = 6},
    {.env = {{"OIDC_CLAIM_tenant", "acme"}}, .channel = "tenant.other.x"},
    {.env = {{"OIDC_CLAIM_tenant", ""}}, .channel = "tenant..x"},
    {.env = {{"OIDC_CLAIM_tenant", "*"}}, .channel = "tenant.other.x"},
    {.channel = "tenant.acme.x"},
    {.env = {{"SSL_CLIENT_VERIFY", "SUCCESS"}},
	.channel = "devices.1",
	.line = 7},
    {.env = {{"SSL_CLIENT_VERIFY", "GENEROUS"}}, .channel = "devices.1"},
    {.env = {{"SSL_CLIENT_VERIFY", "NONE"}, {"SSL_CLIENT_S_DN_CN", "x"}},
	.channel = "cert.x"},
    {.env = {{"SSL_CLIENT_S_DN_CN", "x"}}, .channel = "cert.x"},
    {.env = {{"SSL_CLIENT_VERIFY", "SUCCESS"}, {"SSL_CLIENT_S_DN_CN", "x"}},
	.channel = "cert.x",
	.line = 13},
    /* tokens: within what the token says */
    {.token = "orders.*", .channel = "orders.1", .line = 8},
    {.token = "orders.*", .channel = "orders.*", .line = 8},
    {.token = "orders.*", .channel = "order*"},
    {.token = "orders.*", .channel = "other"},
    {.token = "*", .channel = "other", .line = 8},
    {.token = "*", .channel = "*", .line = 8},
    {.token = "orders.1", .channel = "orders.1", .line = 8},
    {.token = "orders.1", .channel = "orders.12"},
    {.token = "x", .op = ACCESS_PUBLISH, .channel = "x", .line = 8},
    /* the application */
    {.app = "app.7", .channel = "app.7", .line = 9},
    {.app = "app.7", .channel = "app.8"},
    {.app = "*", .channel = "other"},
    {.app = "app.*", .channel = "app.*", .line = 9},
    /* peers of the socket */
    {.uid = 33, .op = ACCESS_PUBLISH, .channel = "orders.1", .line = 10},
    {.uid = 33, .op = ACCESS_PUBLISH, .channel = "order"},
    {.uid = 33, .channel = "orders.1"},
    {.uid = 32, .op = ACCESS_PUBLISH, .channel = "orders.1"},
    {.gid = 1000, .op = ACCESS_PUBLISH, .channel = "logs.1", .line = 11},
    {.gid = 1001, .op = ACCESS_PUBLISH, .channel = "logs.1"},
    {.gid = 1000, .op = ACCESS_REVOKE, .line = 11},
    {.uid = 33, .op = ACCESS_REVOKE},
    {.uid = 34, .op = ACCESS_REPORT, .line = 12},
    {.uid = 33, .op = ACCESS_REPORT},
    {.uid = 34, .op = ACCESS_PUBLISH, .channel = "x"},
    /* ours are nobody's */
    {.token = "*", .channel = "system.revoke"},
    {.token = "*", .channel = "control.x"},
    {.token = "system.*", .channel = "system.*"},
    {.token = "*", .channel = "no channel"},
    {.token = "*", .channel = ""},
};

static bool told_allowed;

static void
note_outcome(void *arg, unsigned line, enum access_outcome outcome)
{
	(void)arg;
	(void)line;
	if (outcome == ACCESS_ALLOWS)
		told_allowed = true;
}

static void
each_case_is_allowed_by_its_line_or_by_none(void **state)
{
	struct access *a = parsed_access(the_rules, the_groups);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct access_case *c = &cases[i];
		struct span token = span_str(c->token == NULL ? "" : c->token);
		struct span app = span_str(c->app == NULL ? "" : c->app);
		struct access_list of_token = {&token, 1}, of_app = {&app, 1};
		struct access_person p = {
		    .user = {span_str(c->user == NULL ? "" : c->user)},
		    .env = env_row_of,
		    .token_read = c->token == NULL ? NULL : &of_token,
		    .token_publish = c->token == NULL ? NULL : &of_token,
		    .app = &of_app,
		    .uid = c->uid == 0 ? -1 : c->uid,
		    .gid = &c->gid,
		    .n_gids = c->gid == 0 ? 0 : 1};
		struct span channel = c->channel == NULL ? SPAN_NONE
							 : span_str(c->channel);
		struct access_verdict v;

		env_rows = c->env;
		v = access_judge(a, &p, c->op, channel);
		if (v.line != c->line)
			print_error("case %zu, %s: line %u, not %u\n", i,
			    c->channel, v.line, c->line);
		assert_int_equal(v.line, c->line);
		assert_int_equal(v.allowed, c->line != 0);
		told_allowed = false;
		access_explain(a, &p, c->op, channel, note_outcome, NULL);
		assert_int_equal(told_allowed, v.allowed);
	}
	access_free(&a);
}

/* Grants add up over the names that he has at once. */
static void
any_of_his_names_will_do(void **state)
{
	struct access *a = parsed_access(the_rules, the_groups);
	struct access_person p = {
	    .user = {SPAN("bob"), SPAN(""), SPAN("alice")},
	    .uid = -1};

	(void)state;
	assert_true(
	    access_judge(a, &p, ACCESS_READ, SPAN("user.alice")).allowed);
	assert_true(access_judge(a, &p, ACCESS_READ, SPAN("user.bob")).allowed);
	assert_true(access_judge(a, &p, ACCESS_READ, SPAN("admin.x")).allowed);
	assert_true(access_judge(a, &p, ACCESS_READ, SPAN("staff.x")).allowed);
	access_free(&a);
}

static void
the_application_is_asked_only_where_no_other_line_allows(void **state)
{
	struct access *a = parsed_access(
	    "anyone read news\napp read app.* mine.$user\n", NULL);
	struct access_person p = {.uid = -1};
	struct access_verdict v;

	(void)state;
	v = access_judge(a, &p, ACCESS_READ, SPAN("news"));
	assert_true(v.allowed && !v.ask_app);
	v = access_judge(a, &p, ACCESS_READ, SPAN("app.1"));
	assert_true(!v.allowed && v.ask_app);
	v = access_judge(a, &p, ACCESS_READ, SPAN("mine.alice"));
	assert_true(!v.allowed && v.ask_app);
	v = access_judge(a, &p, ACCESS_READ, SPAN("other"));
	assert_true(!v.allowed && !v.ask_app);
	access_free(&a);
}

static const struct bad_file {
	const char *text, *error;
} bad_files[] = {
    {"somebody read x", "f:1: \"somebody\" is nobody"},
    {"\n\nuser", "f:3: what is allowed is missing"},
    {"anyone reads x", "f:1: what is allowed is missing"},
    {"anyone read", "f:1: channels are missing"},
    {"anyone bob read x", "f:1: too many names"},
    {"group read x", "f:1: a name is missing"},
    {"group staff read x", "f:1: this line names a group, and `groups`"},
    {"anyone read a*b", "f:1: \"a*b\" is no channel"},
    {"anyone read a\\b", "f:1: \"a\\b\" is no channel"},
    {"anyone read u.$user", "f:1: \"u.$user\": this line has no user"},
    {"user read u.$value", "f:1: \"u.$value\": $value stands in lines of env"},
    {"user read u.$name", "f:1: \"u.$name\": after $ stands"},
    {"user read $user.$user", "f:1: \"$user.$user\": only one variable"},
    {"env HTTP_X read x", "f:1: a client chooses what is in HTTP_X"},
    {"env QUERY_STRING=a read x", "f:1: a client chooses"},
    {"env REDIRECT_REMOTE_USER read x", "f:1: a client chooses"},
    {"env SERVER_PORT=443 read x", "f:1: a client chooses"},
    {"env A= read x", "f:1: A needs a value"},
    {"env =x read x", "f:1: \"=x\" is no variable"},
    {"user report", "f:1: report: only lines of uid and gid"},
    {"uid 33 read x", "f:1: read: who is known by uid or gid"},
    {"uid nobody publish x", "f:1: there is no user \"nobody\""},
    {"gid nobody publish x", "f:1: there is no group \"nobody\""},
    {"uid 33 report x", "f:1: report and revoke name no channels"},
    {"app publish x", "f:1: publish: the application says what is read"},
    {"uid 33 publish x rate=0/s", "f:1: rate=0/s: write rate=N/s"},
    {"uid 33 publish x rate=5/h", "f:1: rate=5/h: write rate=N/s"},
    {"uid 33 publish x burst=5", "f:1: burst= needs a rate="},
    {"uid 33 report rate=5/s", "f:1: rate=5/s: only publishing has a rate"},
    {"user publish x rate=5/s", "f:1: rate=5/s: only lines of uid and gid"},
    {"env REMOTE_IDENT read x", "f:1: a client chooses"},
    {"anyone read x\x01", "f:1: a control character"},
};

static void
a_mistake_is_told_with_its_line(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
		struct access_source src = {.text = span_str(bad_files[i].text),
		    .name = "f"};
		struct access *a = NULL;
		struct errmsg err = {""};
		enum status st = access_parse(&a, &src, &err);

		if (st != ST_INVALID ||
		    strncmp(err.text, bad_files[i].error,
			strlen(bad_files[i].error)) != 0)
			print_error("%s: %s\n", bad_files[i].text, err.text);
		assert_status(st, ST_INVALID);
		assert_null(a);
		assert_memory_equal(err.text, bad_files[i].error,
		    strlen(bad_files[i].error));
	}
}

static void
editors_leave_byte_order_marks_and_carriage_returns(void **state)
{
	struct access *a = parsed_access(
	    "\xef\xbb\xbf# x\r\n\r\nanyone read a b # c\r\n", NULL);
	struct access_person p = {.uid = -1};

	(void)state;
	assert_int_equal(access_judge(a, &p, ACCESS_READ, SPAN("b")).line, 3);
	assert_true(span_eq(access_line_text(a, 3), SPAN("anyone read a b")));
	access_free(&a);
}

static void
lines_that_allow_follow_each_other(void **state)
{
	struct access *a = parsed_access("uid 1 publish a rate=5/s\n"
					 "uid 1 publish *\n"
					 "gid 2 publish a rate=7/s burst=9\n",
	    NULL);
	int64_t gid = 2;
	struct access_person p = {.uid = 1, .gid = &gid, .n_gids = 1};

	(void)state;
	assert_int_equal(access_next(a, &p, ACCESS_PUBLISH, SPAN("a"), 0), 1);
	assert_int_equal(access_next(a, &p, ACCESS_PUBLISH, SPAN("a"), 1), 2);
	assert_int_equal(access_next(a, &p, ACCESS_PUBLISH, SPAN("a"), 2), 3);
	assert_int_equal(access_next(a, &p, ACCESS_PUBLISH, SPAN("a"), 3), 0);
	assert_int_equal(access_rate_of(a, 1).per_s, 5);
	assert_int_equal(access_rate_of(a, 1).burst, 5);
	assert_int_equal(access_rate_of(a, 2).per_s, 0);
	assert_int_equal(access_rate_of(a, 3).burst, 9);
	access_free(&a);
}

static unsigned warned[8], n_warned;

static void
note_warning(void *arg, unsigned line, const char *text)
{
	(void)arg;
	assert_non_null(text);
	assert_true(n_warned < 8);
	warned[n_warned++] = line;
}

static void
what_is_odd_is_told(void **state)
{
	struct access *a = parsed_access("user read a.$user b.$user.*\n"
					 "group nobody read x\n"
					 "anyone read system.x\n"
					 "user read a.$user c.$user_label.*\n",
	    the_groups);

	(void)state;
	n_warned = 0;
	access_warnings(a, note_warning, NULL);
	assert_int_equal(n_warned, 3);
	assert_int_equal(warned[0], 1);
	assert_int_equal(warned[1], 2);
	assert_int_equal(warned[2], 3);
	access_free(&a);
}

/* Each variable has its own value: a tenant acme is no user acme. */
static void
a_line_for_a_variable_knows_the_user_too(void **state)
{
	struct access *a = parsed_access(
	    "env T read t.$value user.$user\nenv T=acme read x.$user.y\n",
	    NULL);
	static const struct env_row rows[] = {{"T", "acme"}, {NULL, NULL}};
	struct access_person p = {.user = {SPAN(""), SPAN("alice")},
	    .env = env_row_of,
	    .uid = -1};

	(void)state;
	env_rows = rows;
	assert_int_equal(access_judge(a, &p, ACCESS_READ, SPAN("t.acme")).line,
	    1);
	assert_int_equal(
	    access_judge(a, &p, ACCESS_READ, SPAN("user.alice")).line, 1);
	assert_int_equal(
	    access_judge(a, &p, ACCESS_READ, SPAN("x.alice.y")).line, 2);
	assert_false(
	    access_judge(a, &p, ACCESS_READ, SPAN("user.acme")).allowed);
	assert_false(access_judge(a, &p, ACCESS_READ, SPAN("t.alice")).allowed);
	assert_false(
	    access_judge(a, &p, ACCESS_READ, SPAN("x.acme.y")).allowed);
	access_free(&a);
}

/* Its words are counted before there is room for them. */
static void
names_may_be_of_any_script(void **state)
{
	struct access *a = parsed_access(
	    "user \xc3\xa9 \xc3\xa8 \xc3\xa0 \xc3\xb6 \xc3\xbc \xc3\xb1 "
	    "read a.$user\ngroup \xc3\xb8 read b\n",
	    "\xc3\xb8: \xc3\xa9 \xc3\xa8 \xc3\xa0 \xc3\xb6 \xc3\xbc");
	struct access_person p = {.user = {SPAN("\xc3\xbc")}, .uid = -1};

	(void)state;
	assert_true(access_judge(a, &p, ACCESS_READ, SPAN("a.%C3%BC")).allowed);
	assert_true(access_judge(a, &p, ACCESS_READ, SPAN("b")).allowed);
	access_free(&a);
}

static void
a_mistake_among_groups_names_their_file(void **state)
{
	struct access_source src = {.text = SPAN("group a read x\n"),
	    .groups = SPAN("a: b\nno colon\n"),
	    .name = "f",
	    .groups_name = "g"};
	struct access *a = NULL;
	struct errmsg err = {""};

	(void)state;
	assert_status(access_parse(&a, &src, &err), ST_INVALID);
	assert_memory_equal(err.text, "g:2: ", 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_case_is_allowed_by_its_line_or_by_none),
	    cmocka_unit_test(any_of_his_names_will_do),
	    cmocka_unit_test(
		the_application_is_asked_only_where_no_other_line_allows),
	    cmocka_unit_test(a_mistake_is_told_with_its_line),
	    cmocka_unit_test(
		editors_leave_byte_order_marks_and_carriage_returns),
	    cmocka_unit_test(lines_that_allow_follow_each_other),
	    cmocka_unit_test(what_is_odd_is_told),
	    cmocka_unit_test(a_line_for_a_variable_knows_the_user_too),
	    cmocka_unit_test(names_may_be_of_any_script),
	    cmocka_unit_test(a_mistake_among_groups_names_their_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
