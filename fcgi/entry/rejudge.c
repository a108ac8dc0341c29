/* SPDX-License-Identifier: MIT */
/*
 * Judging again.  After a reading of the rules each stream is judged once, a
 * slice of them at a time: which ones are left is told by the edition that
 * each carries.
 */
#include "rejudge.h"

#include <stdio.h>
#include <stdlib.h>

#include "authz.h"
#include "clock.h"
#include "conf.h"
#include "hub.h"
#include "pass.h"
#include "random.h"
#include "revocation.h"

#define SLICE          512    /* streams judged at once */
#define SLICE_US       2000   /* and then the others have a turn */
#define SLICE_WORK_US  2000   /* but no longer, however long the rules are */
#define BLIND_US       100000 /* until the log is tried again */
#define ASK_AT_PERCENT 80     /* of an answer's age */
#define ASK_AGAIN_US   1000000
#define NEVER_S        INT64_C(1000000000000)

struct rejudge {
	struct rejudge_options o;
	uint32_t edition; /* of all that streams are judged by */
	struct timer slice;
	size_t left;           /* of the slice at hand */
	uint64_t slice_end_us; /* and no longer than until then */
	bool look_up;          /* ... among what was revoked, too */
	bool blind;            /* that cannot be done now */
	bool more;
};

/* ---- when a stream ends -------------------------------------------------- */

static void
end_no_later(struct stream *s, uint64_t at_us, enum frame_reason why)
{
	if (s->end_us == 0 || at_us < s->end_us) {
		s->end_us = at_us;
		s->end_why = (uint8_t)why;
	}
}

/* The moment of the loop's clock that is `s` of Unix time. */
static uint64_t
loop_time_of(struct rejudge *r, int64_t unix_s)
{
	uint64_t now_us = loop_now_us(r->o.loop);
	int64_t left_us;

	if (unix_s > NEVER_S)
		unix_s = NEVER_S;
	left_us = (unix_s * 1000 - clock_real_ms()) * 1000;
	if (left_us > 0)
		return now_us + (uint64_t)left_us;
	return (uint64_t)-left_us < now_us ? now_us - (uint64_t)-left_us : 1;
}

/* How old it is; a stream that is not the hub's so far is new. */
static uint64_t
stream_age_us(struct rejudge *r, const struct stream *s)
{
	uint32_t now_ms = (uint32_t)(loop_now_us(r->o.loop) / 1000);

	return s->hub == NULL ? 0 : (now_ms - s->opened_ms) * UINT64_C(1000);
}

/*
 * A token's stream ends at exp; one that began when that had passed, within
 * the leeway for clocks that differ, at the leeway's end.
 */
static uint64_t
token_end(struct rejudge *r, const struct stream *s)
{
	uint64_t exp_us = loop_time_of(r, s->pass->token_expires_s);

	if (exp_us > loop_now_us(r->o.loop) - stream_age_us(r, s))
		return exp_us;
	return exp_us + TOKEN_LEEWAY_S * UINT64_C(1000000);
}

/* By max_age_s, spread by what follows from its id alone; 0: never. */
static uint64_t
old_age(struct rejudge *r, const struct stream *s)
{
	uint64_t seed = s->id;
	uint64_t max_us = (uint64_t)r->o.conf->max_age_s * 1000000;

	if (max_us == 0)
		return 0;
	return loop_now_us(r->o.loop) - stream_age_us(r, s) +
	    random_jitter(&seed, max_us);
}

/* An answer that holds for less than this is asked for anew then. */
static uint64_t
answer_end(const struct authorizer_answer *a)
{
	uint64_t least = a->asked_us + ASK_AGAIN_US;

	return a->until_us > least ? a->until_us : least;
}

static uint64_t
ask_time(const struct authorizer_answer *a)
{
	return a->asked_us +
	    (answer_end(a) - a->asked_us) / 100 * ASK_AT_PERCENT;
}

/* Sets end_us to what comes first. */
static void
plan_end(struct rejudge *r, struct stream *s)
{
	uint64_t old_us = old_age(r, s);

	s->end_us = 0;
	s->end_why = CLOSE_MAX_AGE;
	if (old_us != 0)
		end_no_later(s, old_us, CLOSE_MAX_AGE);
	if (s->pass == NULL)
		return;
	if (s->pass->has_token)
		end_no_later(s, token_end(r, s), CLOSE_AUTH_EXPIRED);
	if (s->pass->asks && s->pass->answer != NULL)
		end_no_later(s, ask_time(s->pass->answer), CLOSE_OVERLOAD);
}

void
rejudge_begin(struct rejudge *r, struct stream *s)
{
	s->edition = r->edition;
	plan_end(r, s);
}

/* ---- judging ------------------------------------------------------------- */

static bool
may_go_on(struct rejudge *r, const struct stream *s)
{
	const struct span *pattern;
	size_t n, first;

	subs_patterns(s->sub, &pattern, &n);
	return authz_judge(r->o.authz, s->pass, pattern, n, &first) ==
	    AUTHZ_ALLOWED;
}

/* What a revocation could name him by. */
static size_t
names_of(const struct pass *p, struct revocation out[4])
{
	size_t n = 0;

	if (p == NULL)
		return 0;
	out[n++] = (struct revocation){REVOKE_TOKEN, p->token_id, 0, 0};
	out[n++] = (struct revocation){REVOKE_USER, p->token_user, 0, 0};
	out[n++] = (struct revocation){REVOKE_USER, p->user, 0, 0};
	if (p->answer != NULL)
		out[n++] = (struct revocation){REVOKE_USER, p->answer->user, 0,
		    0};
	return n;
}

/* Was one of these revoked since he came?  Sets r->blind: nobody knows. */
static bool
was_revoked(struct rejudge *r, const struct stream *s)
{
	int64_t opened_ms = clock_real_ms() -
	    (int64_t)(stream_age_us(r, s) / 1000);
	struct revocation v[5] = {{REVOKE_STREAM, SPAN_NONE, 0, 0}};
	char id[17];
	size_t i, n = 1 + names_of(s->pass, v + 1);

	(void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)s->id);
	v[0].value = span_str(id);
	for (i = 0; i < n; i++) {
		enum status st = authz_look_up(r->o.authz, &v[i], &v[i].at_ms);

		if (st != ST_OK && st != ST_NOTFOUND) {
			r->blind = true;
			return false;
		}
		if (st == ST_OK &&
		    (v[i].kind == REVOKE_TOKEN || v[i].at_ms >= opened_ms) &&
		    rejudge_names(s->pass, s->id, &v[i]))
			return true;
	}
	return false;
}

/* For hub_end_where: has it lost its grant?  Judged at most once. */
static bool
lost_its_grant(void *arg, struct stream *s)
{
	struct rejudge *r = arg;

	if (s->edition == r->edition)
		return false;
	if (r->left == 0 || r->blind || clock_mono_us() >= r->slice_end_us) {
		r->more = true;
		return false;
	}
	r->left--;
	if (!may_go_on(r, s) || (r->look_up && was_revoked(r, s)))
		return true;
	if (r->blind)
		r->more = true;
	else
		s->edition = r->edition;
	return false;
}

static void
judge_slice(struct rejudge *r)
{
	r->left = SLICE;
	r->slice_end_us = clock_mono_us() + SLICE_WORK_US;
	r->more = false;
	r->blind = false;
	(void)hub_end_where(r->o.hub, CLOSE_REVOKED, lost_its_grant, r);
	if (!r->more)
		r->look_up = false;
	else
		status_ignore(timer_set(r->o.loop, &r->slice,
		    loop_now_us(r->o.loop) + (r->blind ? BLIND_US : SLICE_US)));
}

static void
on_slice(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	judge_slice(OWNER_OF(t, struct rejudge, slice));
}

void
rejudge_all(struct rejudge *r, bool look_up)
{
	r->edition++;
	r->look_up = r->look_up || look_up;
	judge_slice(r);
}

/* ---- the application ----------------------------------------------------- */

struct authorizer_question
rejudge_question(const struct pass *p)
{
	return (struct authorizer_question){.cookie = p->cookie,
	    .authorization = p->authorization,
	    .address = p->address,
	    .host = p->host,
	    .channels = p->channels};
}

struct lookout {
	struct rejudge *r;
	const struct pass *pass;
};

static bool
is_refused_now(void *arg, struct stream *s)
{
	struct lookout *l = arg;

	return s->pass == l->pass && !may_go_on(l->r, s);
}

static void
on_new_answer(void *arg, struct authorizer_answer *answer)
{
	struct pass *p = arg, *held;
	struct lookout l = {.r = p->owner, .pass = p};

	p->wait = NULL;
	if (answer->result != AUTHORIZER_ALLOWED &&
	    answer->result != AUTHORIZER_REFUSED)
		return; /* until the old one's age ends it is asked again */
	authorizer_unref(&p->answer);
	p->answer = authorizer_ref(answer);
	held = pass_ref(p); /* its last stream may end here */
	(void)hub_end_where(l.r->o.hub, CLOSE_REVOKED, is_refused_now, &l);
	pass_unref(&held);
}

/*
 * The answer's age is about to end: ask again, for all streams of the visitor,
 * and look at what came until it has ended.
 */
static bool
ask_again(struct rejudge *r, struct stream *s, uint64_t now_us)
{
	struct pass *p = s->pass;
	struct authorizer_question q = rejudge_question(p);

	if (r->o.authorizer == NULL || now_us >= answer_end(p->answer))
		return false;
	p->owner = r;
	if (p->wait == NULL)
		status_ignore(authorizer_ask(r->o.authorizer, &q, true,
		    on_new_answer, p, &p->wait));
	s->end_us = now_us + ASK_AGAIN_US;
	if (s->end_us > answer_end(p->answer))
		s->end_us = answer_end(p->answer);
	s->end_why = CLOSE_OVERLOAD;
	return true;
}

bool
rejudge_due(struct rejudge *r, struct stream *s, uint64_t now_us)
{
	struct pass *p = s->pass;

	if (p == NULL || !p->asks || p->answer == NULL ||
	    s->end_why != CLOSE_OVERLOAD)
		return false;
	if (!may_go_on(r, s)) {
		s->end_why = CLOSE_REVOKED;
		return false;
	}
	plan_end(r, s);
	if (s->end_us > now_us)
		return true;
	return s->end_why == CLOSE_OVERLOAD && ask_again(r, s, now_us);
}

/* ---- revocation ---------------------------------------------------------- */

/* A token that was given after its user was revoked is not meant. */
static bool
names_user_of(const struct pass *p, const struct revocation *v)
{
	if (span_eq(p->user, v->value) ||
	    (p->answer != NULL && span_eq(p->answer->user, v->value)))
		return true;
	return p->has_token && span_eq(p->token_user, v->value) &&
	    authz_was_given_before(p->token_issued_s, v->at_ms);
}

bool
rejudge_names(const struct pass *p, uint64_t stream, const struct revocation *v)
{
	uint64_t id;

	if (v->value.len == 0)
		return false;
	switch (v->kind) {
	case REVOKE_USER:
		return p != NULL && names_user_of(p, v);
	case REVOKE_TOKEN:
		return p != NULL && span_eq(p->token_id, v->value);
	case REVOKE_STREAM:
		return revocation_stream(v->value, &id) && stream == id;
	case REVOKE_KIND_COUNT:
		break;
	}
	return false;
}

/* For hub_end_where. */
static bool
is_revoked_by(void *arg, struct stream *s)
{
	const struct revocation *v = arg;

	return rejudge_names(s->pass, s->id, v);
}

void
rejudge_revoked(struct rejudge *r, const struct revocation *v)
{
	struct revocation copy = *v;

	if (v->kind == REVOKE_USER && r->o.authorizer != NULL)
		authorizer_forget(r->o.authorizer, v->value);
	(void)hub_end_where(r->o.hub, CLOSE_REVOKED, is_revoked_by, &copy);
}

/* ---- making -------------------------------------------------------------- */

enum status
rejudge_new(struct rejudge **out, const struct rejudge_options *o)
{
	struct rejudge *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ST_NOMEM;
	r->o = *o;
	r->slice.fn = on_slice;
	*out = r;
	return ST_OK;
}

void
rejudge_free(struct rejudge **rp)
{
	if (*rp == NULL)
		return;
	timer_cancel((*rp)->o.loop, &(*rp)->slice);
	free(*rp);
	*rp = NULL;
}
