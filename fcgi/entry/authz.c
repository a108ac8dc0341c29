/* SPDX-License-Identifier: MIT */
/* Authorization of readers. */
#include "authz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access_file.h"
#include "clock.h"
#include "conf.h"
#include "credential.h"
#include "log.h"
#include "log_reader.h"
#include "proc.h"

#define KEYS_LOOK_MS 1000 /* how often a change of the keys is looked for */
#define MAX_ENV      256

struct authz {
	const struct conf *conf;
	struct log_reader *log;
	struct access_file file;
	struct token_keys *keys; /* NULL: tokens are not looked at */
	int64_t keys_looked_ms;
	struct log_state bad_keys;
	struct passes *passes;
	struct authz_counters counters;
};

/* ---- rules and keys ------------------------------------------------------ */

static void
log_warning(void *arg, unsigned line, const char *text)
{
	const struct authz *a = arg;

	log_warnx("%s:%u: %s", a->conf->access, line, text);
}

void
authz_say(struct authz *a)
{
	if (!a->file.is_set) {
		log_warnx("`access` is not set: whoever reaches this worker "
			  "may read every channel; see access.conf(5)");
		return;
	}
	access_warnings(a->file.rules, log_warning, a);
	if (a->keys == NULL && access_has_kind(a->file.rules, ACCESS_TOKEN))
		log_warnx("%s has lines for tokens, and token_keys is not "
			  "set: they allow nothing",
		    a->conf->access);
	if (a->conf->authorizer[0] == '\0' &&
	    access_has_kind(a->file.rules, ACCESS_APP))
		log_warnx("%s has lines for the application, and authorizer "
			  "is not set: they allow nothing",
		    a->conf->access);
}

static enum status
open_keys(struct authz *a, struct errmsg *err)
{
	const char *odd;
	enum status st;

	if (!a->file.is_set || a->conf->token_keys[0] == '\0')
		return ST_OK;
	st = token_keys_open(&a->keys, a->conf->token_keys, err);
	if (st != ST_OK)
		return st;
	odd = token_keys_warning(a->keys);
	if (odd != NULL)
		log_warnx("%s: %s", a->conf->token_keys, odd);
	a->keys_looked_ms = clock_real_ms();
	return ST_OK;
}

enum status
authz_new(struct authz **out, const struct conf *c, struct log_reader *log,
    struct errmsg *err)
{
	struct authz *a = calloc(1, sizeof(*a));
	enum status st;

	if (a == NULL)
		return ST_NOMEM;
	a->conf = c;
	a->log = log;
	/* Tokens, cookies and keys are in memory from here on. */
	if (c->access[0] != '\0')
		proc_dump_no_memory();
	st = access_file_open(&a->file, c, err);
	if (st == ST_OK)
		st = open_keys(a, err);
	if (st == ST_OK)
		st = passes_new(&a->passes);
	if (st != ST_OK) {
		authz_free(&a);
		return st;
	}
	*out = a;
	return ST_OK;
}

void
authz_free(struct authz **ap)
{
	struct authz *a = *ap;

	if (a == NULL)
		return;
	passes_free(&a->passes);
	token_keys_free(&a->keys);
	access_file_close(&a->file);
	free(a);
	*ap = NULL;
}

bool
authz_reload(struct authz *a)
{
	struct errmsg err = {""};
	enum status st;

	if (!a->file.is_set)
		return false;
	a->keys_looked_ms = 0;
	st = access_file_reload(&a->file, a->conf, &err);
	if (st != ST_OK) {
		log_error("the rules stay as they were: %s", err.text);
		return false;
	}
	authz_say(a);
	return true;
}

uint32_t
authz_edition(const struct authz *a)
{
	return a->file.edition;
}

bool
authz_may_ask(const struct authz *a)
{
	return a->file.is_set && a->conf->authorizer[0] != '\0';
}

bool
authz_asks(const struct authz *a)
{
	return authz_may_ask(a) && access_has_kind(a->file.rules, ACCESS_APP);
}

/* A new key holds from the next token on; a broken file changes nothing. */
static void
refresh_keys(struct authz *a, int64_t now_ms)
{
	struct errmsg err = {""};
	bool changed = false;
	enum status st;

	if (now_ms >= a->keys_looked_ms &&
	    now_ms - a->keys_looked_ms < KEYS_LOOK_MS)
		return;
	a->keys_looked_ms = now_ms;
	st = token_keys_refresh(&a->keys, a->conf->token_keys, &changed, &err);
	if (log_state(&a->bad_keys, st == ST_OK ? 0 : 1, clock_mono_us()) &&
	    st != ST_OK)
		log_warnx("the keys stay as they were: %s", err.text);
	if (changed)
		LOG_EVENT(LOG_INFO_, "keys.read",
		    LOG_STR("file", span_str(a->conf->token_keys)),
		    LOG_INT("keys", token_keys_count(a->keys)));
}

/* ---- revocation ---------------------------------------------------------- */

/* In the same second counts as before: iat tells no more. */
bool
authz_was_given_before(int64_t issued_s, int64_t at_ms)
{
	return issued_s < 0 || issued_s <= at_ms / 1000;
}

static enum status
user_was_revoked(struct authz *a, struct span user, int64_t issued_s)
{
	int64_t at_ms = 0;
	enum status st;

	if (user.len == 0)
		return ST_NOTFOUND;
	st = log_reader_revoked(a->log, REVOKE_USER, user, &at_ms);
	if (st == ST_OK && !authz_was_given_before(issued_s, at_ms))
		return ST_NOTFOUND;
	return st;
}

static enum status
token_was_revoked(struct authz *a, struct span id, struct span user,
    int64_t issued_s)
{
	int64_t at_ms = 0;
	enum status st = ST_NOTFOUND;

	if (id.len > 0)
		st = log_reader_revoked(a->log, REVOKE_TOKEN, id, &at_ms);
	return st == ST_NOTFOUND ? user_was_revoked(a, user, issued_s) : st;
}

enum status
authz_look_up(struct authz *a, const struct revocation *wish, int64_t *at_ms)
{
	if (wish->value.len == 0)
		return ST_NOTFOUND;
	return log_reader_revoked(a->log, wish->kind, wish->value, at_ms);
}

/* ---- who it is ----------------------------------------------------------- */

/* Verifies the token; *t is filled when TOKEN_NONE comes. */
static enum token_fault
check_token(struct authz *a, const struct credential *c, struct token *t,
    bool *unsure)
{
	struct token_rules rules = {
	    .audience = span_str(a->conf->token_audience),
	    .issuer = span_str(a->conf->token_issuer)};
	int64_t now_ms = clock_real_ms();
	enum token_fault fault;
	enum status st;

	refresh_keys(a, now_ms);
	fault = c->ambiguous
	    ? TOKEN_MALFORMED
	    : token_verify(a->keys, &rules, c->token, now_ms / 1000, t);
	*unsure = false;
	if (fault == TOKEN_NONE) {
		st = token_was_revoked(a, t->id, t->subject, t->issued_s);
		if (st == ST_OK)
			fault = TOKEN_REVOKED;
		else
			*unsure = st != ST_NOTFOUND;
	}
	a->counters.n_tokens[fault]++;
	return fault;
}

struct env_taking {
	const struct params *params;
	struct pass_env env[MAX_ENV];
	size_t n;
};

static void
take_variable(void *arg, struct span name)
{
	struct env_taking *t = arg;
	struct span value = params_get_sure(t->params, name);
	size_t i;

	for (i = 0; i < t->n; i++)
		if (span_eq(t->env[i].name, name))
			return;
	if (value.p != NULL && t->n < MAX_ENV)
		t->env[t->n++] = (struct pass_env){name, value};
}

static enum authz_identity
make_pass(struct authz *a, const struct params *p, const struct credential *c,
    const struct token *t, struct pass **pass)
{
	struct env_taking taken = {.params = p};
	struct pass_wish w = {.user = c->user, .token = t, .env = taken.env};

	access_each_env(a->file.rules, take_variable, &taken);
	if (taken.n > 0) /* what a certificate says may be among them */
		take_variable(&taken, SPAN("SSL_CLIENT_VERIFY"));
	w.n_env = taken.n;
	return pass_get(a->passes, &w, pass) == ST_OK ? AUTHZ_KNOWN
						      : AUTHZ_NOMEM;
}

enum authz_identity
authz_identify(struct authz *a, const struct params *p, const struct request *r,
    struct pass **pass, enum token_fault *why)
{
	struct credential c;
	struct token t;
	bool unsure = false;
	enum authz_identity id = AUTHZ_KNOWN;

	*pass = NULL;
	*why = TOKEN_NONE;
	if (!a->file.is_set)
		return AUTHZ_KNOWN;
	credential_read(&c, p, r, span_str(a->conf->token_cookie));
	token_init(&t);
	if (a->keys != NULL && c.token.len > 0)
		*why = check_token(a, &c, &t, &unsure);
	if (*why == TOKEN_MEMORY)
		id = AUTHZ_NOMEM;
	else if (*why != TOKEN_NONE && *why != TOKEN_EXPIRED)
		id = AUTHZ_FORGED;
	else if (unsure)
		id = AUTHZ_UNSURE;
	else
		id = make_pass(a, p, &c,
		    a->keys != NULL && c.token.len > 0 && *why == TOKEN_NONE
			? &t
			: NULL,
		    pass);
	if (id == AUTHZ_KNOWN && *why == TOKEN_EXPIRED)
		id = AUTHZ_EXPIRED;
	token_fini(&t);
	return id;
}

enum status
authz_question(struct authz *a, const struct params *p, const struct request *r,
    struct pass **pass)
{
	const struct pass_question q = {.cookie = params_get(p, "HTTP_COOKIE"),
	    .authorization = params_get(p, "HTTP_AUTHORIZATION"),
	    .address = r->remote,
	    .host = params_get(p, "HTTP_HOST"),
	    .channel = r->channel,
	    .n_channels = r->n_channels};
	struct pass *asking;
	enum status st = pass_asking(a->passes, *pass, &q, &asking);

	if (st != ST_OK)
		return st;
	pass_unref(pass);
	*pass = asking;
	return ST_OK;
}

/* ---- what he may --------------------------------------------------------- */

enum authz_verdict
authz_judge(const struct authz *a, const struct pass *p,
    const struct span *channel, size_t n, size_t *first)
{
	struct access_person who = pass_person(p);
	enum authz_verdict verdict = AUTHZ_ALLOWED;
	size_t i;

	*first = 0;
	for (i = 0; a->file.is_set && i < n; i++) {
		struct access_verdict v = access_judge(a->file.rules, &who,
		    ACCESS_READ, channel[i]);

		if (v.allowed)
			continue;
		if (!v.ask_app || !authz_asks(a)) {
			*first = i;
			return AUTHZ_REFUSED;
		}
		if (verdict == AUTHZ_ALLOWED)
			*first = i;
		verdict = AUTHZ_ASK;
	}
	return verdict;
}

struct trying {
	char *out;
	size_t len;
};

static void
tell_line(void *arg, unsigned line, enum access_outcome outcome)
{
	struct trying *t = arg;
	char text[96];
	int n;

	/* Of another operation or channel are most; they explain nothing. */
	if (outcome == ACCESS_OTHER_OP || outcome == ACCESS_OTHER_CHANNEL)
		return;
	n = snprintf(text, sizeof(text), "%sline %u %s", t->len > 0 ? "; " : "",
	    line, access_outcome_words(outcome));
	if (n < 0 || (size_t)n > AUTHZ_TRIED_BYTES - t->len)
		return;
	memcpy(t->out + t->len, text, (size_t)n);
	t->len += (size_t)n;
}

struct span
authz_tried(const struct authz *a, const struct pass *p, struct span channel,
    char out[AUTHZ_TRIED_BYTES])
{
	struct access_person who = pass_person(p);
	struct trying t = {.out = out};

	access_explain(a->file.rules, &who, ACCESS_READ, channel, tell_line,
	    &t);
	return t.len == 0 ? SPAN("no line is for this channel")
			  : span_of(out, t.len);
}

const struct authz_counters *
authz_counters(const struct authz *a)
{
	return &a->counters;
}

size_t
authz_n_visitors(const struct authz *a)
{
	return passes_count(a->passes);
}

struct passes *
authz_passes(struct authz *a)
{
	return a->passes;
}

void
authz_count_refused(struct authz *a, bool by_app)
{
	a->counters.n_refused[by_app ? 1 : 0]++;
}
