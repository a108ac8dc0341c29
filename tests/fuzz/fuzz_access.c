/* SPDX-License-Identifier: MIT */
/*
 * Rules of access.conf(5).  The input: the rules; after a byte 0xff the groups;
 * after another one the channel; after that, names of the user and the value
 * of all variables.
 *
 * What must hold: nothing reserved is allowed; what is allowed as a prefix is
 * allowed below it; what explains agrees with what judges; the lines as they
 * are kept give the same verdicts when they are read again.
 */
#include "access.h"

#include <string.h>

#include "fuzz.h"
#include "name.h"

#define PARTS 5

static struct span value_of_all;

static struct span
fuzz_env(void *arg, struct span name)
{
	(void)arg;
	MUST(!span_starts(name, SPAN("HTTP_")));
	if (span_eq(name, SPAN("SSL_CLIENT_VERIFY")))
		return SPAN("SUCCESS");
	return value_of_all;
}

struct told {
	unsigned first; /* line that allows; 0: none */
	unsigned last;
	bool asks;
};

static void
note_told(void *arg, unsigned line, enum access_outcome outcome)
{
	struct told *t = arg;

	MUST(line > t->last);
	t->last = line;
	MUST(access_outcome_words(outcome) != NULL);
	if (outcome == ACCESS_ALLOWS && t->first == 0)
		t->first = line;
	if (outcome == ACCESS_APP_NOT_ASKED)
		t->asks = true;
}

static struct access_verdict
judge_and_explain(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel)
{
	struct access_verdict v = access_judge(a, p, op, channel);
	struct told t = {.first = 0};

	access_explain(a, p, op, channel, note_told, &t);
	MUST(v.allowed == (v.line != 0));
	MUST(v.line == t.first);
	MUST(access_next(a, p, op, channel, 0) == v.line);
	MUST(v.allowed || v.ask_app == t.asks || !name_pattern_ok(channel));
	MUST(!(v.allowed && v.ask_app));
	return v;
}

/* What is below a prefix that is allowed. */
static void
check_below(const struct access *a, const struct access_person *p,
    enum access_op op, struct span prefix)
{
	static const char *const tails[] = {"", "a", ".", ".b", "%", "z/@~+="};
	char text[NAME_MAX_BYTES + 16];
	size_t i, n = prefix.len - 1;

	for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		struct span below = span_of(text, n + strlen(tails[i]));

		memcpy(text, prefix.p, n);
		memcpy(text + n, tails[i], strlen(tails[i]));
		if (name_channel_ok(below) && !name_reserved(below))
			MUST(access_judge(a, p, op, below).allowed);
	}
}

static void
check_channel(const struct access *a, const struct access_person *p,
    struct span channel)
{
	int op;

	for (op = ACCESS_READ; op <= ACCESS_PUBLISH; op++) {
		struct access_verdict v = judge_and_explain(a, p,
		    (enum access_op)op, channel);

		if (!v.allowed)
			continue;
		MUST(name_pattern_ok(channel) && !name_reserved(channel));
		MUST(access_line_text(a, v.line).len > 0);
		if (channel.p[channel.len - 1] == '*')
			check_below(a, p, (enum access_op)op, channel);
	}
	(void)judge_and_explain(a, p, ACCESS_REVOKE, SPAN_NONE);
	MUST(!access_judge(a, p, ACCESS_READ, SPAN("system.revoke")).allowed);
	MUST(!access_judge(a, p, ACCESS_READ, SPAN("control.*")).allowed);
}

/* The kept text of all lines, read again, says the same. */
static void
check_printed(const struct access *a, const struct access_source *src,
    const struct access_person *p, struct span channel)
{
	char *text = malloc(src->text.len + ACCESS_MAX_LINES + 1);
	struct access_source again = *src;
	struct access *b = NULL;
	struct errmsg err = {""};
	size_t n = 0;
	unsigned line;

	MUST(text != NULL);
	for (line = 1; line <= src->text.len + 1; line++) {
		struct span s = access_line_text(a, line);

		if (s.len == 0)
			continue;
		memcpy(text + n, s.p, s.len);
		n += s.len;
		text[n++] = '\n';
	}
	again.text = span_of(text, n);
	MUST(access_parse(&b, &again, &err) == ST_OK);
	MUST(access_n_rules(a) == access_n_rules(b));
	MUST(access_judge(a, p, ACCESS_READ, channel).allowed ==
	    access_judge(b, p, ACCESS_READ, channel).allowed);
	access_free(&b);
	free(text);
}

static void
ignore_warning(void *arg, unsigned line, const char *text)
{
	(void)arg;
	MUST(line > 0 && text != NULL);
}

static void
cut_parts(struct span rest, struct span part[PARTS])
{
	size_t i;

	for (i = 0; i < PARTS; i++) {
		const char *at = i + 1 < PARTS ? span_find(rest, '\xff') : NULL;

		part[i] = rest;
		if (at != NULL)
			part[i].len = (size_t)(at - rest.p);
		rest = at == NULL ? SPAN("") : span_skip(rest, part[i].len + 1);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span part[PARTS], list = SPAN("a.*");
	const struct access_list vouched = {&list, 1};
	static const int64_t gids[] = {1, 33};
	struct access_source src = {.name = "f"};
	struct access_person p = {.env = fuzz_env,
	    .token_read = &vouched,
	    .token_publish = &vouched,
	    .uid = 33,
	    .gid = gids,
	    .n_gids = 2};
	struct access *a = NULL;
	struct errmsg err = {""};

	cut_parts(fuzz_span(data, size), part);
	src.text = part[0];
	src.groups = part[1];
	p.user[0] = part[3];
	p.user[2] = SPAN("bob");
	value_of_all = part[4];
	p.app = part[4].len % 2 == 0 ? &vouched : NULL;
	if (access_parse(&a, &src, &err) != ST_OK) {
		MUST(a == NULL && err.text[0] != '\0');
		return 0;
	}
	access_warnings(a, ignore_warning, NULL);
	check_channel(a, &p, part[2]);
	check_channel(a, &p, SPAN("a.*"));
	check_printed(a, &src, &p, part[2]);
	access_free(&a);
	return 0;
}
