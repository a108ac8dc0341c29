/* SPDX-License-Identifier: MIT */
/*
 * From the text of access.conf(5) to rules.  Two passes: the first counts the
 * words and so bounds all that the second one fills in.  Pure, but for the
 * numbers of names, which the caller looks up.
 */
#include "access_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "name.h"

#define SHOWN 40 /* bytes of a word in an error */

#define BIT(op)    (1u << ACCESS_##op)
#define BY_CHANNEL (BIT(READ) | BIT(PUBLISH))
#define OF_PEERS   (BIT(PUBLISH) | BIT(REPORT) | BIT(REVOKE))

/* What may be said of whom: a row for each kind. */
#define OF_ANYONE BY_CHANNEL, 0, 0, false, "anyone read news"
#define OF_USER   BY_CHANNEL, 0, SIZE_MAX, true, "user read user.$user_label.*"
#define OF_GROUP  BY_CHANNEL, 1, SIZE_MAX, true, "group staff read staff.*"
#define OF_ENV                                                                 \
	BY_CHANNEL, 1, 1, true,                                                \
	    "env OIDC_CLAIM_tenant read tenant.$value_label.*"
#define OF_TOKEN BY_CHANNEL, 0, 0, true, "token read *"
#define OF_APP   BIT(READ), 0, 0, true, "app read *"
#define OF_UID   OF_PEERS, 1, SIZE_MAX, false, "uid www-data publish orders.*"
#define OF_GID   OF_PEERS, 1, SIZE_MAX, false, "gid walcast publish *"

static const struct kind_rule {
	unsigned ops;
	size_t min_names, max_names;
	bool users; /* $user stands for a name */
	const char *example;
} kinds[ACCESS_KIND_COUNT] = {
#define X(member, word) [ACCESS_##member] = {OF_##member},
    ACCESS_KINDS(X)
#undef X
};

struct parsing {
	struct access *a;
	const struct access_source *src;
	struct errmsg *err;
	const char *name; /* of the file at hand */
	unsigned line;
	struct span *word; /* of the line at hand */
	size_t n_words;
};

/* ---- errors -------------------------------------------------------------- */

struct shown_word {
	char text[SHOWN + 4];
};

static const char *
show_word(struct shown_word *out, struct span s)
{
	size_t i, n = s.len < SHOWN ? s.len : SHOWN;

	for (i = 0; i < n; i++)
		out->text[i] = s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i];
	memcpy(out->text + n, s.len > n ? "..." : "", s.len > n ? 4 : 1);
	return out->text;
}

/* "FILE:LINE: " and the text, with the word at its %s.  ST_INVALID */
static enum status
complain(struct parsing *g, const char *fmt, struct span word)
{
	struct shown_word shown;
	char text[sizeof(g->err->text)];

	show_word(&shown, word);
	(void)snprintf(text, sizeof(text), fmt, shown.text);
	errmsg_set(g->err, "%s:%u: %s", g->name, g->line, text);
	return ST_INVALID;
}

/* Where the byte stands; s.len: nowhere. */
static size_t
index_of(struct span s, char byte)
{
	const char *at = span_find(s, byte);

	return at == NULL ? s.len : (size_t)(at - s.p);
}

/* ---- words --------------------------------------------------------------- */

static bool
access_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts the next word off; false at the end, or where a comment begins. */
static bool
next_word(struct span *rest, struct span *word)
{
	size_t i = 0, n;

	while (i < rest->len && access_is_blank(rest->p[i]))
		i++;
	if (i == rest->len || rest->p[i] == '#')
		return false;
	for (n = i; n < rest->len && !access_is_blank(rest->p[n]);)
		n++;
	*word = span_of(rest->p + i, n - i);
	*rest = span_skip(*rest, n);
	return true;
}

static void
split_line(struct parsing *g, struct span line)
{
	g->n_words = 0;
	while (next_word(&line, &g->word[g->n_words]))
		g->n_words++;
}

static enum status
check_bytes(struct parsing *g, struct span line)
{
	size_t i;

	for (i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return complain(g,
			    "a control character stands in this line%s: write "
			    "it anew",
			    SPAN(""));
	}
	return ST_OK;
}

static bool
find_kind(struct span word, enum access_kind *kind)
{
	int k;

	for (k = 0; k < ACCESS_KIND_COUNT; k++)
		if (span_eq(word,
			span_str(access_kind_name((enum access_kind)k)))) {
			*kind = (enum access_kind)k;
			return true;
		}
	return false;
}

/* "read,publish" as bits; 0: it is no list of operations. */
static unsigned
read_ops(struct span word)
{
	unsigned ops = 0;
	struct span part;
	int op;

	while (span_cut(&word, ',', &part)) {
		for (op = 0; op < ACCESS_OP_COUNT; op++)
			if (span_eq(part,
				span_str(access_op_name((enum access_op)op))))
				break;
		if (op == ACCESS_OP_COUNT)
			return 0;
		ops |= 1u << op;
	}
	return ops;
}

/* ---- whom ---------------------------------------------------------------- */

/* What a client chooses proves nothing. */
static bool
clients_choose(struct span name)
{
	static const char *const of_clients[] = {"HTTP_", "CONTENT_",
	    "QUERY_STRING", "REQUEST_", "DOCUMENT_URI", "PATH_", "SCRIPT_",
	    "SERVER_NAME", "SERVER_PROTOCOL", "REDIRECT_", "SSL_TLS_SNI",
	    "SSL_SESSION_", "FCGI_", "REMOTE_PORT", "REMOTE_HOST",
	    "SERVER_PORT", "SERVER_SIGNATURE", "REMOTE_IDENT", "UNIQUE_ID"};
	size_t i;

	for (i = 0; i < sizeof(of_clients) / sizeof(of_clients[0]); i++)
		if (span_starts(name, span_str(of_clients[i])))
			return true;
	return false;
}

static bool
is_variable_name(struct span name)
{
	size_t i;

	for (i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			(c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return name.len > 0;
}

static enum status
take_env(struct parsing *g, struct access_rule *r, struct span word)
{
	struct span name = word;
	size_t eq = index_of(word, '=');

	if (eq < word.len)
		name.len = eq;
	if (!is_variable_name(name))
		return complain(g,
		    "\"%s\" is no variable: write NAME, or NAME=VALUE", word);
	if (clients_choose(name))
		return complain(g,
		    "a client chooses what is in %s: name a variable that the "
		    "web server sets itself, such as REMOTE_USER or "
		    "SSL_CLIENT_S_DN_CN",
		    name);
	g->a->name[g->a->n_names++] = name;
	r->n_names = 1;
	if (eq < word.len) {
		g->a->name[g->a->n_names++] = span_skip(word, eq + 1);
		r->n_names = 2;
	}
	if (r->n_names == 2 && r->name[1].len == 0)
		return complain(g, "%s needs a value after its =", name);
	return ST_OK;
}

static enum status
take_id(struct parsing *g, struct access_rule *r, struct span word)
{
	bool (*find)(struct span, int64_t *) = r->kind == ACCESS_UID
	    ? g->src->find_uid
	    : g->src->find_gid;
	int64_t id;

	if (!span_to_int64(word, &id) && (find == NULL || !find(word, &id)))
		return complain(g,
		    r->kind == ACCESS_UID
			? "there is no user \"%s\" on this host"
			: "there is no group \"%s\" on this host",
		    word);
	if (id < 0 || id >= UINT32_MAX)
		return complain(g, "%s is no number of a user or group", word);
	g->a->id[g->a->n_ids++] = id;
	r->n_ids++;
	return ST_OK;
}

static enum status
access_take_name(struct parsing *g, struct access_rule *r, struct span word)
{
	if (r->kind == ACCESS_ENV)
		return take_env(g, r, word);
	if (r->kind == ACCESS_UID || r->kind == ACCESS_GID)
		return take_id(g, r, word);
	g->a->name[g->a->n_names++] = word;
	r->n_names++;
	return ST_OK;
}

/* ---- channels ------------------------------------------------------------ */

static const char *const variable_words[ACCESS_VARIABLE_COUNT] = {
#define X(member, word) [ACCESS_##member] = (word),
    ACCESS_VARIABLES(X)
#undef X
};

/* The variable that begins here; the longer words stand first in the list. */
static enum access_variable
variable_at(struct span s)
{
	int v;

	for (v = ACCESS_VAR_NONE + 1; v < ACCESS_VARIABLE_COUNT; v++)
		if (span_starts(s, span_str(variable_words[v])))
			return (enum access_variable)v;
	return ACCESS_VAR_NONE;
}

static bool
is_of_user(enum access_variable v)
{
	return v == ACCESS_VAR_USER || v == ACCESS_VAR_USER_LABEL;
}

static enum status
check_variable(struct parsing *g, const struct access_rule *r,
    const struct access_pattern *t, struct span word)
{
	if (t->variable == ACCESS_VAR_NONE)
		return complain(g,
		    "\"%s\": after $ stands user, user_label, value or "
		    "value_label",
		    word);
	if (index_of(t->after, '$') < t->after.len)
		return complain(g,
		    "\"%s\": only one variable may stand in a channel", word);
	if (is_of_user(t->variable) ? !kinds[r->kind].users
				    : r->kind != ACCESS_ENV)
		return complain(g,
		    is_of_user(t->variable)
			? "\"%s\": this line has no user; $user stands in "
			  "lines of user, group, env, token and app"
			: "\"%s\": $value stands in lines of env",
		    word);
	return ST_OK;
}

/* The variable counts as one byte, since a value has at least one. */
static bool
is_pattern(const struct access_pattern *t)
{
	char text[NAME_MAX_BYTES + 2];
	size_t n = t->before.len + t->after.len +
	    (t->variable != ACCESS_VAR_NONE ? 1 : 0) + (t->prefix ? 1 : 0);

	if (t->before.len > NAME_MAX_BYTES || t->after.len > NAME_MAX_BYTES ||
	    n > sizeof(text))
		return false;
	if (t->before.len > 0)
		memcpy(text, t->before.p, t->before.len);
	n = t->before.len;
	if (t->variable != ACCESS_VAR_NONE)
		text[n++] = 'v';
	if (t->after.len > 0)
		memcpy(text + n, t->after.p, t->after.len);
	n += t->after.len;
	if (t->prefix)
		text[n++] = '*';
	return name_pattern_ok(span_of(text, n));
}

static enum status
access_take_channel(struct parsing *g, struct access_rule *r, struct span word)
{
	struct access_pattern *t = &g->a->pattern[g->a->n_patterns];
	struct span rest = word;
	size_t at = index_of(word, '$');
	enum status st = ST_OK;

	*t = (struct access_pattern){.before = word};
	if (rest.len > 0 && rest.p[rest.len - 1] == '*') {
		t->prefix = true;
		rest.len--;
	}
	t->before = rest;
	if (at < rest.len) {
		t->before.len = at;
		rest = span_skip(rest, at);
		t->variable = variable_at(rest);
		t->after = span_skip(rest, strlen(variable_words[t->variable]));
		st = check_variable(g, r, t, word);
	}
	if (st == ST_OK && !is_pattern(t))
		st = complain(g,
		    "\"%s\" is no channel: use 1 to 128 of A-Z a-z 0-9 _ . : / "
		    "- @ %% ~ + =, and a * only at the end, for a prefix",
		    word);
	if (st == ST_OK) {
		g->a->n_patterns++;
		r->n_patterns++;
	}
	return st;
}

/* ---- rates --------------------------------------------------------------- */

/* "2000/s", or the number alone. */
static bool
read_rate(struct span value, int64_t *per_s)
{
	size_t slash = index_of(value, '/');
	struct span unit = SPAN("s");
	int64_t n;

	if (slash < value.len) {
		unit = span_skip(value, slash + 1);
		value.len = slash;
	}
	if (!span_eq(unit, SPAN("s")) || !span_to_int64(value, &n) || n < 1 ||
	    n > 1000000000)
		return false;
	*per_s = n;
	return true;
}

static enum status
take_rate(struct parsing *g, struct access_rule *r, struct span word)
{
	struct span value = span_skip(word, index_of(word, '=') + 1);

	if (r->kind != ACCESS_UID && r->kind != ACCESS_GID)
		return complain(g, "%s: only lines of uid and gid have a rate",
		    word);
	if ((r->ops & BIT(PUBLISH)) == 0)
		return complain(g, "%s: only publishing has a rate", word);
	if (span_starts(word, SPAN("rate="))
		? read_rate(value, &r->rate.per_s)
		: span_to_int64(value, &r->rate.burst) && r->rate.burst > 0 &&
		    r->rate.burst <= 1000000000)
		return ST_OK;
	return complain(g,
	    "%s: write rate=N/s, or burst=N, with N from 1 to "
	    "1000000000",
	    word);
}

static enum status
finish_rate(struct parsing *g, struct access_rule *r)
{
	if (r->rate.burst > 0 && r->rate.per_s == 0)
		return complain(g, "burst= needs a rate=%s, too", SPAN(""));
	if (r->rate.burst == 0)
		r->rate.burst = r->rate.per_s;
	return ST_OK;
}

/* ---- lines --------------------------------------------------------------- */

static enum status
check_ops(struct parsing *g, const struct access_rule *r, struct span word)
{
	if ((r->ops & ~kinds[r->kind].ops) == 0)
		return ST_OK;
	if (r->kind == ACCESS_UID || r->kind == ACCESS_GID)
		return complain(g,
		    "%s: who is known by uid or gid publishes, reports or "
		    "revokes; readers are known by user, group, env, token or "
		    "app",
		    word);
	if (r->kind == ACCESS_APP)
		return complain(g,
		    "%s: the application says what is read, "
		    "write `app read CHANNEL...`",
		    word);
	return complain(g,
	    "%s: only lines of uid and gid say report and revoke", word);
}

/* WHO and WHAT; *at is the first word behind them. */
static enum status
parse_whom(struct parsing *g, struct access_rule *r, size_t *at)
{
	size_t i, n;
	enum status st = ST_OK;

	if (!find_kind(g->word[0], &r->kind))
		return complain(g,
		    "\"%s\" is nobody: a line begins with anyone, user, group, "
		    "env, token, app, uid or gid",
		    g->word[0]);
	for (n = 1; n < g->n_words && read_ops(g->word[n]) == 0;)
		n++;
	if (n == g->n_words)
		return complain(g,
		    "what is allowed is missing: write it like `%s`",
		    span_str(kinds[r->kind].example));
	r->ops = read_ops(g->word[n]);
	*at = n + 1;
	if (n - 1 < kinds[r->kind].min_names ||
	    n - 1 > kinds[r->kind].max_names)
		return complain(g,
		    n - 1 < kinds[r->kind].min_names
			? "a name is missing: write it like `%s`"
			: "too many names: write it like `%s`",
		    span_str(kinds[r->kind].example));
	for (i = 1; st == ST_OK && i < n; i++)
		st = access_take_name(g, r, g->word[i]);
	return st == ST_OK ? check_ops(g, r, g->word[n]) : st;
}

static bool
is_rate(struct span word)
{
	return span_starts(word, SPAN("rate=")) ||
	    span_starts(word, SPAN("burst="));
}

static enum status
parse_rule(struct parsing *g)
{
	struct access *a = g->a;
	struct access_rule *r = &a->rule[a->n_rules];
	size_t i = 0;
	enum status st;

	*r = (struct access_rule){.line = g->line,
	    .name = a->name + a->n_names,
	    .id = a->id + a->n_ids,
	    .pattern = a->pattern + a->n_patterns};
	st = parse_whom(g, r, &i);
	for (; st == ST_OK && i < g->n_words; i++)
		st = is_rate(g->word[i])
		    ? take_rate(g, r, g->word[i])
		    : access_take_channel(g, r, g->word[i]);
	if (st != ST_OK)
		return st;
	if (r->n_patterns == 0 && (r->ops & BY_CHANNEL) != 0)
		return complain(g, "channels are missing: write it like `%s`",
		    span_str(kinds[r->kind].example));
	if (r->n_patterns > 0 && (r->ops & BY_CHANNEL) == 0)
		return complain(g,
		    "report and revoke name no channels%s: leave them out",
		    SPAN(""));
	if (r->kind == ACCESS_GROUP && g->src->groups.p == NULL)
		return complain(g,
		    "this line names a group, and `groups` is "
		    "not set in walcast.conf%s",
		    SPAN(""));
	r->text = span_of(g->word[0].p,
	    (size_t)(g->word[g->n_words - 1].p - g->word[0].p) +
		g->word[g->n_words - 1].len);
	st = finish_rate(g, r);
	if (st == ST_OK)
		a->n_rules++;
	return st;
}

/* A line without its end, which may be CR LF. */
static bool
next_line(struct span *rest, struct span *line)
{
	if (!span_cut(rest, '\n', line))
		return false;
	if (line->len > 0 && line->p[line->len - 1] == '\r')
		line->len--;
	return true;
}

static enum status
parse_lines(struct parsing *g, struct span text)
{
	struct span line;
	enum status st = ST_OK;

	if (span_starts(text, SPAN("\xef\xbb\xbf")))
		text = span_skip(text, 3);
	while (st == ST_OK && next_line(&text, &line)) {
		g->line++;
		st = check_bytes(g, line);
		if (st != ST_OK)
			break;
		split_line(g, line);
		if (g->n_words == 0)
			continue;
		if (g->a->n_rules == ACCESS_MAX_LINES)
			return complain(g,
			    "there are more lines than 4096%s: use groups, "
			    "tokens or prefixes",
			    SPAN(""));
		st = parse_rule(g);
	}
	return st;
}

/* ---- groups -------------------------------------------------------------- */

/* "staff: alice bob"; a group may stand on several lines. */
static enum status
parse_group_line(struct parsing *g, struct span line)
{
	size_t colon = index_of(line, ':');
	struct span group = line, rest = line, user;

	if (!next_word(&rest, &user))
		return ST_OK;
	group.len = colon;
	group = span_trim(group);
	if (colon == line.len || group.len == 0)
		return complain(g,
		    "a group is written like `staff: alice bob`%s", SPAN(""));
	rest = span_skip(line, colon + 1);
	/* A group without users is known, too. */
	g->a->member[g->a->n_members++] = (struct access_member){group,
	    SPAN("")};
	while (next_word(&rest, &user))
		g->a->member[g->a->n_members++] = (struct access_member){group,
		    user};
	return ST_OK;
}

static int
compare_members(const void *x, const void *y)
{
	const struct access_member *a = x, *b = y;
	int c = access_compare(a->group, b->group);

	return c != 0 ? c : access_compare(a->user, b->user);
}

static enum status
parse_groups(struct parsing *g, struct span text)
{
	struct access *a = g->a;
	struct span line;
	enum status st = ST_OK;

	g->name = g->src->groups_name == NULL ? "groups" : g->src->groups_name;
	g->line = 0;
	while (st == ST_OK && next_line(&text, &line)) {
		g->line++;
		st = check_bytes(g, line);
		if (st == ST_OK)
			st = parse_group_line(g, line);
	}
	if (st == ST_OK && a->n_members > 0)
		qsort(a->member, a->n_members, sizeof(*a->member),
		    compare_members);
	return st;
}

/* ---- the whole ----------------------------------------------------------- */

/* At least what next_word takes for one: bytes of UTF-8, too. */
static bool
in_word(char c)
{
	return (unsigned char)c > ' ';
}

static size_t
count_words(struct span text)
{
	size_t i, n = 0;

	for (i = 0; i < text.len; i++)
		if (in_word(text.p[i]) && (i == 0 || !in_word(text.p[i - 1])))
			n++;
	return n;
}

static size_t
count_lines(struct span text)
{
	size_t i, n = 1;

	for (i = 0; i < text.len; i++)
		n += text.p[i] == '\n';
	return n;
}

static char *
copy_of(struct span s)
{
	char *p = malloc(s.len + 1);

	if (p == NULL)
		return NULL;
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

/* Room for whatever can be in it: NAME=VALUE is two names. */
static enum status
access_make_room(struct parsing *g)
{
	const struct access_source *src = g->src;
	struct access *a = g->a;
	size_t words = count_words(src->text) + 1;
	size_t lines = count_lines(src->text);
	size_t members = count_words(src->groups) + count_lines(src->groups);

	a->text = copy_of(src->text);
	a->groups = copy_of(src->groups);
	a->rule = calloc(lines < ACCESS_MAX_LINES ? lines : ACCESS_MAX_LINES,
	    sizeof(*a->rule));
	a->name = calloc(2 * words, sizeof(*a->name));
	a->id = calloc(words, sizeof(*a->id));
	a->pattern = calloc(words, sizeof(*a->pattern));
	a->member = calloc(members, sizeof(*a->member));
	g->word = calloc(words, sizeof(*g->word));
	if (a->text == NULL || a->groups == NULL || a->rule == NULL ||
	    a->name == NULL || a->id == NULL || a->pattern == NULL ||
	    a->member == NULL || g->word == NULL)
		return ST_NOMEM;
	return ST_OK;
}

static enum status
check_sizes(struct parsing *g)
{
	if (g->src->text.len <= ACCESS_MAX_BYTES &&
	    g->src->groups.len <= ACCESS_MAX_BYTES)
		return ST_OK;
	errmsg_set(g->err,
	    "%s: more than %d bytes: use groups, tokens or "
	    "prefixes",
	    g->src->name, ACCESS_MAX_BYTES);
	return ST_INVALID;
}

enum status
access_parse(struct access **out, const struct access_source *src,
    struct errmsg *err)
{
	struct parsing g = {.src = src, .err = err, .name = src->name};
	enum status st;

	g.a = calloc(1, sizeof(*g.a));
	st = g.a == NULL ? ST_NOMEM : check_sizes(&g);
	if (st == ST_OK)
		st = access_make_room(&g);
	if (st == ST_OK)
		st = parse_lines(&g, span_of(g.a->text, src->text.len));
	if (st == ST_OK && src->groups.p != NULL)
		st = parse_groups(&g, span_of(g.a->groups, src->groups.len));
	free(g.word);
	if (st != ST_OK)
		access_free(&g.a);
	*out = g.a;
	if (st == ST_NOMEM)
		errmsg_set(err, "%s: not enough memory", src->name);
	return st;
}

void
access_free(struct access **ap)
{
	struct access *a = *ap;

	if (a == NULL)
		return;
	free(a->text);
	free(a->groups);
	free(a->rule);
	free(a->name);
	free(a->id);
	free(a->pattern);
	free(a->member);
	free(a);
	*ap = NULL;
}

/* ---- what is odd --------------------------------------------------------- */

/*
 * `user.$user.*` of alice covers `user.alice.bob`, which is what `user.$user`
 * gives to a user alice.bob.
 */
static bool
runs_into_others(const struct access_pattern *t)
{
	return (t->variable == ACCESS_VAR_USER ||
		   t->variable == ACCESS_VAR_VALUE) &&
	    (t->after.len > 0 || t->prefix);
}

static void
warn_of_patterns(const struct access_rule *r,
    void (*tell)(void *arg, unsigned line, const char *text), void *arg)
{
	size_t i;

	for (i = 0; i < r->n_patterns; i++) {
		const struct access_pattern *t = &r->pattern[i];

		if (name_reserved(t->before))
			tell(arg, r->line,
			    "channels that begin with system. or control. are "
			    "nobody's: this one is never allowed");
		if (runs_into_others(t))
			tell(arg, r->line,
			    "a name that holds what follows $user or $value "
			    "here runs into another's channels: write "
			    "$user_label or $value_label, in which only A-Z "
			    "a-z 0-9 _ - @ stand as they are");
	}
}

void
access_warnings(const struct access *a,
    void (*tell)(void *arg, unsigned line, const char *text), void *arg)
{
	size_t i, j;

	for (i = 0; i < a->n_rules; i++) {
		const struct access_rule *r = &a->rule[i];

		warn_of_patterns(r, tell, arg);
		for (j = 0; r->kind == ACCESS_GROUP && j < r->n_names; j++)
			if (!access_has_group(a, r->name[j]))
				tell(arg, r->line,
				    "it names a group that the file of groups "
				    "does not have");
	}
}
