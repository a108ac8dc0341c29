/* SPDX-License-Identifier: MIT */
/*
 * Judging again.  After a reading of the rules each stream is judged once, a
 * slice of them at a time: which ones are left is told by the edition that
 * each carries.
 */
#include "rejudge.h"

#include <stdlib.h>

#include "authz.h"
#include "buf.h"
#include "clock.h"
#include "conf.h"
#include "hub.h"
#include "log.h"
#include "log_reader.h"
#include "random.h"
#include "revocation.h"

#define SLICE          512   /* streams judged at once */
#define SLICE_US       10000 /* and then the others have a turn */
#define ASK_AT_PERCENT 80    /* of an answer's age */
#define ASK_AGAIN_US   1000000
#define NEVER_S        INT64_C(1000000000000)

struct rejudge {
	struct rejudge_options o;
	uint64_t random;
	struct timer slice;
	size_t left; /* of the slice at hand */
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

/*
 * A token's stream ends at exp; one that began when that had passed, within
 * the leeway for clocks that differ, at the leeway's end.
 */
static uint64_t
token_end(struct rejudge *r, const struct stream *s)
{
	uint64_t exp_us = loop_time_of(r, s->pass->token_expires_s);
	uint64_t begun_us = loop_now_us(r->o.loop) -
	    (s->hub == NULL ? 0
			    : ((uint32_t)(loop_now_us(r->o.loop) / 1000) -
				  s->opened_ms) *
			UINT64_C(1000));

	if (exp_us > begun_us)
		return exp_us;
	return exp_us + TOKEN_LEEWAY_S * UINT64_C(1000000);
}

static uint64_t
ask_time(const struct authorizer_answer *a)
{
	return a->asked_us + (a->until_us - a->asked_us) / 100 * ASK_AT_PERCENT;
}

/* Sets end_us to what comes first; age_us stands for max_age. */
static void
plan_end(struct rejudge *r, struct stream *s)
{
	s->end_us = 0;
	if (s->age_us != 0)
		end_no_later(s, s->age_us, CLOSE_MAX_AGE);
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
	uint64_t max_age_us = (uint64_t)r->o.conf->max_age_s * 1000000;

	s->edition = authz_edition(r->o.authz);
	if (max_age_us > 0)
		s->age_us = loop_now_us(r->o.loop) +
		    random_jitter(&r->random, max_age_us);
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

/* For hub_end_where: has it lost its grant?  Judged at most once. */
static bool
lost_its_grant(void *arg, struct stream *s)
{
	struct rejudge *r = arg;
	uint32_t edition = authz_edition(r->o.authz);

	if (s->edition == edition)
		return false;
	if (r->left == 0) {
		r->more = true;
		return false;
	}
	r->left--;
	s->edition = edition;
	return !may_go_on(r, s);
}

static void
judge_slice(struct rejudge *r)
{
	r->left = SLICE;
	r->more = false;
	(void)hub_end_where(r->o.hub, CLOSE_REVOKED, lost_its_grant, r);
	if (r->more)
		status_ignore(timer_set(r->o.loop, &r->slice,
		    loop_now_us(r->o.loop) + SLICE_US));
}

static void
on_slice(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	judge_slice(OWNER_OF(t, struct rejudge, slice));
}

void
rejudge_all(struct rejudge *r)
{
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

	if (r->o.authorizer == NULL || now_us >= p->answer->until_us)
		return false;
	p->owner = r;
	if (p->wait == NULL)
		status_ignore(authorizer_ask(r->o.authorizer, &q, true,
		    on_new_answer, p, &p->wait));
	s->end_us = now_us + ASK_AGAIN_US;
	if (s->end_us > p->answer->until_us)
		s->end_us = p->answer->until_us;
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

static bool
is_revoked_by(void *arg, struct stream *s)
{
	const struct revocation *v = arg;
	uint64_t id;

	switch (v->kind) {
	case REVOKE_USER:
		return s->pass != NULL && pass_has_user(s->pass, v->value);
	case REVOKE_TOKEN:
		return s->pass != NULL && s->pass->token_id.len > 0 &&
		    span_eq(s->pass->token_id, v->value);
	case REVOKE_STREAM:
		return revocation_stream(v->value, &id) && s->id == id;
	case REVOKE_KIND_COUNT:
		break;
	}
	return false;
}

/* For hub_end_where: nobody knows what we have missed. */
static bool
was_revoked(void *arg, struct stream *s)
{
	struct rejudge *r = arg;

	return authz_revoked(r->o.authz, s->pass) == ST_OK;
}

void
rejudge_revoked(struct rejudge *r, const struct event *e)
{
	struct revocation v;
	struct buf text;

	if (e == NULL) {
		(void)hub_end_where(r->o.hub, CLOSE_REVOKED, was_revoked, r);
		return;
	}
	buf_init(&text, REVOCATION_MAX_VALUE);
	if (revocation_decode(e->data, &text, &v) != ST_OK) {
		log_warnx("event %lld of the log is a revocation that cannot "
			  "be read: it is passed over",
		    (long long)e->id);
	} else {
		if (v.kind == REVOKE_USER && r->o.authorizer != NULL)
			authorizer_forget(r->o.authorizer, v.value);
		(void)hub_end_where(r->o.hub, CLOSE_REVOKED, is_revoked_by, &v);
	}
	buf_fini(&text);
}

/* ---- making -------------------------------------------------------------- */

enum status
rejudge_new(struct rejudge **out, const struct rejudge_options *o)
{
	struct rejudge *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ST_NOMEM;
	r->o = *o;
	r->random = random_seed();
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
