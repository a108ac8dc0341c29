/* SPDX-License-Identifier: MIT */
/* What publishers may do by the rules, and what it costs them. */
#include "rights.h"

#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "identities.h"
#include "protocol.h"
#include "tmpdir.h"
#include "unit.h"

#define SECOND UINT64_C(1000000)

struct fixture {
	void *tmp;
	struct conf conf;
	struct rights rights;
	struct identities set;
	struct rights_bill bill;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	if (tmpdir_setup(&f.tmp) != 0)
		return -1;
	conf_defaults(&f.conf);
	(void)snprintf(f.conf.access, sizeof(f.conf.access), "%s",
	    tmpdir_path(f.tmp, "access.conf"));
	(void)snprintf(f.conf.database, sizeof(f.conf.database), "%s",
	    tmpdir_path(f.tmp, "events.db"));
	identities_init(&f.set);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	rights_close(&f->rights);
	return tmpdir_teardown(&f->tmp);
}

static void
rules(struct fixture *f, const char *text)
{
	struct errmsg err = {""};

	tmpdir_write(f->conf.access, text, strlen(text));
	if (f->rights.conf != NULL)
		rights_reload(&f->rights);
	else if (rights_open(&f->rights, &f->conf, &err) != ST_OK)
		fail_msg("%s", err.text);
}

static struct identity *
who(struct fixture *f, int64_t uid, int64_t gid)
{
	const struct identities_peer peer = {uid, &gid, 1};
	struct identity *id;

	assert_status(identities_get(&f->set, &peer, &id), ST_OK);
	return id;
}

/* Channels parted by spaces; a number before it: so many of it. */
static enum status
publish_at(struct fixture *f, struct identity *id, const char *channels,
    uint64_t now_us)
{
	static struct protocol_event ev[300];
	struct span rest = span_str(channels), word;
	size_t n = 0;
	int64_t times = 1;

	while (span_cut(&rest, ' ', &word)) {
		if (span_to_int64(word, &times))
			continue;
		while (times-- > 0)
			ev[n++].e.channel = word;
		times = 1;
	}
	return rights_publish(&f->rights, id, ev, n, now_us, &f->bill);
}

static enum status
publish(struct fixture *f, struct identity *id, const char *channels)
{
	return publish_at(f, id, channels, SECOND);
}

static void
every_event_of_a_request_needs_a_line(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70), *other = who(f, 8, 71);

	rules(f, "uid 7 publish a b.*\ngid 71 publish c\n");
	assert_status(publish(f, id, "a b.1 b.2"), ST_OK);
	assert_status(publish(f, id, "a b.1 c b.2"), ST_DENIED);
	assert_int_equal(f->bill.index, 2);
	assert_status(publish(f, id, "c"), ST_DENIED);
	assert_int_equal(f->bill.index, 0);
	assert_status(publish(f, other, "c"), ST_OK);
	assert_status(publish(f, other, "a"), ST_DENIED);
	identities_unref(&f->set, &id);
	identities_unref(&f->set, &other);
}

static void
a_verdict_is_asked_for_once_until_the_rules_change(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	rules(f, "uid 7 publish a\n");
	assert_status(publish(f, id, "5 a"), ST_OK);
	assert_int_equal(f->bill.n_judged, 1);
	assert_status(publish(f, id, "a"), ST_OK);
	assert_int_equal(f->bill.n_judged, 0);
	assert_status(publish(f, id, "b"), ST_DENIED);
	assert_int_equal(f->bill.n_judged, 1);
	assert_status(publish(f, id, "b"), ST_DENIED);
	assert_int_equal(f->bill.n_judged, 0);
	rules(f, "uid 7 publish b\n");
	assert_status(publish(f, id, "a"), ST_DENIED);
	assert_status(publish(f, id, "b"), ST_OK);
	/* A broken file is none. */
	rules(f, "uid 7 publish\n");
	assert_status(publish(f, id, "b"), ST_OK);
	assert_status(publish(f, id, "a"), ST_DENIED);
	identities_unref(&f->set, &id);
}

static void
more_channels_than_are_kept_are_judged_right(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);
	char channel[16];
	int i;

	rules(f, "uid 7 publish even.*\n");
	for (i = 0; i < 2000; i++) {
		(void)snprintf(channel, sizeof(channel), "%s.%d",
		    i % 2 == 0 ? "even" : "odd", i % 300);
		assert_status(publish(f, id, channel),
		    i % 2 == 0 ? ST_OK : ST_DENIED);
	}
	identities_unref(&f->set, &id);
}

/* Channels are few enough to be found again, and more than are kept. */
static void
what_is_kept_never_differs_from_what_the_rules_say(void **state)
{
	static const char *const texts[] = {
	    "uid 7 publish a.* b.1*\ngid 71 publish c.*\n",
	    "uid 8 publish a.*\ngid 70 publish b.*\n",
	    "uid 7 8 publish c.2*\ngid 70 71 publish a.1\n"
	    "anyone publish b.49\nuser 7 publish *\n"};
	struct fixture *f = *state;
	struct identity *id[] = {who(f, 7, 70), who(f, 7, 71), who(f, 8, 70)};
	uint64_t seed = 88172645463325252;
	char channel[16];
	int i;

	for (i = 0; i < 30000; i++) {
		struct identity *p;
		struct access_person him;
		bool may;

		if (i % 3000 == 0)
			rules(f, texts[i / 3000 % 3]);
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		p = id[seed % 3];
		(void)snprintf(channel, sizeof(channel), "%c.%d",
		    (int)('a' + (seed >> 8) % 3), (int)((seed >> 16) % 50));
		him = (struct access_person){.uid = p->uid,
		    .gid = p->gid,
		    .n_gids = p->n_gids};
		may = access_judge(f->rights.access.rules, &him, ACCESS_PUBLISH,
		    span_str(channel))
			  .allowed;
		assert_status(publish(f, p, channel), may ? ST_OK : ST_DENIED);
	}
	for (i = 0; i < 3; i++)
		identities_unref(&f->set, &id[i]);
}

static void
a_line_of_uid_bounds_each_one_of_gid_all_of_them(void **state)
{
	struct fixture *f = *state;
	struct identity *a = who(f, 7, 70), *b = who(f, 8, 70);

	rules(f,
	    "uid 7 8 publish u rate=1/s burst=5\n"
	    "gid 70 publish g rate=1/s burst=5\n");
	assert_status(publish(f, a, "5 u"), ST_OK);
	assert_status(publish(f, a, "u"), ST_BUSY);
	assert_int_equal(f->bill.line, 1);
	assert_in_range(f->bill.wait_us, SECOND, SECOND + 1);
	assert_status(publish(f, b, "5 u"), ST_OK);
	assert_status(publish(f, a, "5 g"), ST_OK);
	assert_status(publish(f, b, "g"), ST_BUSY);
	assert_int_equal(f->bill.line, 2);
	assert_status(publish_at(f, b, "g", 2 * SECOND + 1), ST_OK);
	identities_unref(&f->set, &a);
	identities_unref(&f->set, &b);
}

static void
of_several_lines_the_first_that_can_pays_all_of_it(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	rules(f,
	    "uid 7 publish a.* rate=1/s burst=5\n"
	    "gid 70 publish a.b rate=2/s burst=8\n");
	assert_status(publish(f, id, "9 a.b"), ST_TOOLARGE);
	assert_status(publish(f, id, "3 a.b"), ST_OK); /* 1: 2 left */
	assert_status(publish(f, id, "6 a.b"), ST_OK); /* 2: 2 left */
	assert_status(publish(f, id, "3 a.b"), ST_BUSY);
	/* The second is filled faster. */
	assert_int_equal(f->bill.line, 2);
	assert_in_range(f->bill.wait_us, SECOND / 2, SECOND / 2 + 1);
	assert_status(publish(f, id, "2 a.c"), ST_OK);
	assert_status(publish(f, id, "a.c"), ST_BUSY);
	assert_int_equal(f->bill.line, 1);
	assert_status(publish(f, id, "2 a.b"), ST_OK);
	identities_unref(&f->set, &id);
}

static void
channels_of_one_line_are_paid_together(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	rules(f,
	    "uid 7 publish a b c rate=1/s burst=10\n"
	    "gid 70 publish c rate=1/s burst=10\n");
	assert_status(publish(f, id, "4 a 4 b 3 a"), ST_TOOLARGE);
	assert_int_equal(f->bill.n_events, 11);
	/* c is of two lines: what the first has paid already counts. */
	assert_status(publish(f, id, "6 a 6 c"), ST_OK);
	assert_status(publish(f, id, "5 a"), ST_BUSY);
	assert_status(publish(f, id, "4 a 4 c"), ST_OK);
	assert_status(publish(f, id, "c"), ST_BUSY);
	identities_unref(&f->set, &id);
}

static void
what_is_refused_takes_nothing(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	f->conf.publish_rate = 1;
	f->conf.publish_burst = 20;
	rules(f,
	    "uid 7 publish a rate=1/s burst=10\n"
	    "uid 7 publish b rate=1/s burst=5\n"
	    "uid 7 publish c\n");
	assert_status(publish(f, id, "10 a x"), ST_DENIED);
	assert_status(publish(f, id, "10 a 6 b"), ST_TOOLARGE);
	assert_int_equal(f->bill.line, 2);
	assert_status(publish(f, id, "10 a 11 c"), ST_TOOLARGE);
	assert_int_equal(f->bill.line, 0); /* publish_rate */
	assert_status(publish(f, id, "10 a 5 b 5 c"), ST_OK);
	rights_refund(&f->rights, &f->bill);
	rights_refund(&f->rights, &f->bill);
	assert_status(publish(f, id, "10 a 5 b 5 c"), ST_OK);
	assert_status(publish(f, id, "c"), ST_BUSY);
	assert_int_equal(f->bill.line, 0);
	identities_unref(&f->set, &id);
}

static void
a_line_without_a_rate_is_free_wherever_it_stands(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	rules(f,
	    "uid 7 publish a rate=1/s burst=1\n"
	    "gid 70 publish a\n"
	    "uid 7 publish a rate=1/s burst=2\n");
	assert_status(publish(f, id, "200 a"), ST_OK);
	assert_int_equal(f->bill.n, 0);
	identities_unref(&f->set, &id);
}

static void
a_bucket_stays_with_the_text_of_its_line(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);

	rules(f, "uid 7 publish a rate=1/s burst=5\n");
	assert_status(publish(f, id, "5 a"), ST_OK);
	rules(f, "# more\nuid 9 publish x\nuid 7 publish a rate=1/s burst=5\n");
	assert_status(publish(f, id, "a"), ST_BUSY);
	assert_int_equal(f->bill.line, 3);
	rules(f, "uid 7 publish a rate=1/s burst=6\n");
	assert_status(publish(f, id, "6 a"), ST_OK);
	identities_unref(&f->set, &id);
}

static void
more_lines_than_a_request_may_have_are_too_many(void **state)
{
	static char text[8192], channels[2048];
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);
	size_t n = 0, k = 0;
	int i;

	for (i = 0; i <= RIGHTS_MAX_LINES; i++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "uid 7 publish c%d rate=1/s burst=5\n", i);
		k += (size_t)snprintf(channels + k, sizeof(channels) - k,
		    "%sc%d", i > 0 ? " " : "", i);
		if (i == RIGHTS_MAX_LINES - 1) {
			f->conf.publish_rate = f->conf.publish_burst = 100;
			rules(f, text);
			assert_status(publish(f, id, channels), ST_OK);
			assert_int_equal(f->bill.n, RIGHTS_MAX_LINES + 1);
			rights_refund(&f->rights, &f->bill);
		}
	}
	rules(f, text);
	assert_status(publish(f, id, channels), ST_TOOLARGE);
	identities_unref(&f->set, &id);
}

/* Past a bound they are not kept, and the same comes out. */
static void
many_lines_of_one_user_and_many_of_others(void **state)
{
	static char text[64 * 1024];
	struct fixture *f = *state;
	struct identity *few = who(f, 7, 70), *many = who(f, 8, 71);
	size_t n = 0;
	int i;

	for (i = 0; i < 500; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "uid %d publish c%d%s\n", i % 10 == 0 ? 7 : 8, i,
		    i == 490 ? " rate=1/s burst=3" : "");
	rules(f, text);
	assert_status(publish(f, few, "c0 c480 2 c490"), ST_OK);
	assert_status(publish(f, few, "2 c490"), ST_BUSY);
	assert_int_equal(f->bill.line, 491);
	assert_int_equal(access_n_rules(few->rules), 50);
	assert_status(publish(f, few, "c1"), ST_DENIED);
	assert_status(publish(f, many, "c1 c499"), ST_OK);
	assert_status(publish(f, many, "c490"), ST_DENIED);
	assert_null(many->rules);
	/* What was kept goes with the rules that it came from. */
	rules(f, "uid 7 publish c1\n");
	assert_status(publish(f, few, "c0"), ST_DENIED);
	assert_status(publish(f, few, "c1"), ST_OK);
	assert_status(publish(f, many, "c1"), ST_DENIED);
	identities_unref(&f->set, &few);
	identities_unref(&f->set, &many);
}

static void
lines_say_who_reports_listens_and_revokes(void **state)
{
	struct fixture *f = *state;
	struct identity *id[] = {who(f, 7, 70), who(f, 8, 71), who(f, 9, 72),
	    who(f, 10, 70), who(f, 0, 0), who(f, -1, -1)};
	const bool may[][3] = {{true, true, false}, {false, true, true},
	    {true, true, false}, {false, false, false}, {true, true, true},
	    {false, false, false}};
	size_t i;

	(void)snprintf(f->conf.report_users, sizeof(f->conf.report_users), "9");
	rules(f, "uid 7 report\ngid 71 revoke\n");
	for (i = 0; i < sizeof(id) / sizeof(id[0]); i++) {
		assert_int_equal(rights_report(&f->rights, id[i]), may[i][0]);
		assert_int_equal(rights_listen(&f->rights, id[i]), may[i][1]);
		assert_int_equal(rights_revoke(&f->rights, id[i]), may[i][2]);
		identities_unref(&f->set, &id[i]);
	}
}

static void
without_rules_all_publish_and_listen(void **state)
{
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);
	struct errmsg err;

	f->conf.access[0] = '\0';
	assert_status(rights_open(&f->rights, &f->conf, &err), ST_OK);
	assert_status(publish(f, id, "a b c"), ST_OK);
	assert_null(id->verdicts);
	assert_true(rights_listen(&f->rights, id));
	assert_false(rights_report(&f->rights, id));
	assert_false(rights_revoke(&f->rights, id));
	identities_unref(&f->set, &id);
}

static void
the_lines_that_were_tried_are_told_as_far_as_there_is_room(void **state)
{
	static char text[4096];
	struct fixture *f = *state;
	struct identity *id = who(f, 7, 70);
	struct rights_why why;
	size_t n;
	int i;

	rules(f, "anyone read *\nuid 7 publish b\ngid 9 publish a\n");
	rights_explain(&f->rights, id, SPAN("a"), &why);
	assert_string_equal(why.text,
	    "2 is for other channels; 3 is for another gid");
	for (i = 0, n = 0; i < 100; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "uid 7 publish b%d\n", i);
	rules(f, text);
	rights_explain(&f->rights, id, SPAN("a"), &why);
	assert_in_range(why.len, 300, sizeof(why.text) - 1);
	assert_int_equal(strlen(why.text), why.len);
	identities_unref(&f->set, &id);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(every_event_of_a_request_needs_a_line),
	    TEST(a_verdict_is_asked_for_once_until_the_rules_change),
	    TEST(more_channels_than_are_kept_are_judged_right),
	    TEST(what_is_kept_never_differs_from_what_the_rules_say),
	    TEST(a_line_of_uid_bounds_each_one_of_gid_all_of_them),
	    TEST(of_several_lines_the_first_that_can_pays_all_of_it),
	    TEST(channels_of_one_line_are_paid_together),
	    TEST(what_is_refused_takes_nothing),
	    TEST(a_line_without_a_rate_is_free_wherever_it_stands),
	    TEST(a_bucket_stays_with_the_text_of_its_line),
	    TEST(more_lines_than_a_request_may_have_are_too_many),
	    TEST(many_lines_of_one_user_and_many_of_others),
	    TEST(lines_say_who_reports_listens_and_revokes),
	    TEST(without_rules_all_publish_and_listen),
	    TEST(the_lines_that_were_tried_are_told_as_far_as_there_is_room),
	};

	return RUN(tests);
}
