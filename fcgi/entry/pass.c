/* SPDX-License-Identifier: MIT */
/*
 * Passes.  All that is known of a visitor is written into one text, which is
 * the key of the table and what the spans point into.
 */
#include "pass.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "hashtable.h"
#include "params.h"

#define PASS_MAX_BYTES (2 * PARAMS_MAX_BYTES + 2 * TOKEN_MAX_BYTES)

struct pass_private {
	UT_hash_handle hh;
	struct pass pass;
	struct passes *all;
	uint32_t refs;
	char *text;
	size_t len;
	struct span *pattern;
	struct pass_env *environment;
};

struct passes {
	struct pass_private *table;
};

/* ---- the text ------------------------------------------------------------ */

/* A field: what it is, its length, its bytes. */
#define FIELD_HEAD 5

static void
pass_put(struct buf *b, char tag, struct span value)
{
	uint32_t n = (uint32_t)value.len;
	char head[FIELD_HEAD] = {tag, (char)(n >> 24), (char)(n >> 16),
	    (char)(n >> 8), (char)n};

	buf_add(b, span_of(head, sizeof(head)));
	buf_add(b, value);
}

static void
pass_put_number(struct buf *b, char tag, int64_t v)
{
	char bytes[8];
	int i;

	for (i = 0; i < 8; i++)
		bytes[i] = (char)((uint64_t)v >> (8 * i));
	pass_put(b, tag, span_of(bytes, sizeof(bytes)));
}

static void
put_token(struct buf *b, const struct token *t)
{
	size_t i;

	pass_put(b, 's', t->subject);
	pass_put(b, 'j', t->id);
	pass_put_number(b, 'x', t->expires_s);
	pass_put_number(b, 'i', t->issued_s);
	for (i = 0; i < t->n_read; i++)
		pass_put(b, 'r', t->read[i]);
	for (i = 0; i < t->n_publish; i++)
		pass_put(b, 'p', t->publish[i]);
}

static enum status
pass_write(struct buf *b, const struct pass_wish *w)
{
	size_t i;

	if (w->user.len > 0)
		pass_put(b, 'u', w->user);
	if (w->token != NULL)
		put_token(b, w->token);
	for (i = 0; i < w->n_env; i++) {
		pass_put(b, 'n', w->env[i].name);
		pass_put(b, 'v', w->env[i].value);
	}
	return buf_finish(b, 0);
}

static enum status
write_question(struct buf *b, const struct pass *p,
    const struct pass_question *q)
{
	size_t i;

	if (p != NULL)
		buf_add(b, span_of(p->own->text, p->own->len));
	pass_put(b, 'c', q->cookie);
	pass_put(b, 'a', q->authorization);
	pass_put(b, 'd', q->address);
	pass_put(b, 'h', q->host);
	for (i = 0; i < q->n_channels; i++)
		pass_put(b, 'k', q->channel[i]);
	return buf_finish(b, 0);
}

static bool
pass_next(struct span *rest, char *tag, struct span *value)
{
	const unsigned char *p = (const unsigned char *)rest->p;
	size_t n;

	if (rest->len < FIELD_HEAD)
		return false;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	*tag = rest->p[0];
	*value = span_of(rest->p + FIELD_HEAD, n);
	*rest = span_skip(*rest, FIELD_HEAD + n);
	return true;
}

static int64_t
number_in(struct span s)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 8; i++)
		v |= (uint64_t)(unsigned char)s.p[i] << (8 * i);
	return (int64_t)v;
}

/* Room for the lists. */
static bool
make_lists(struct pass_private *o)
{
	struct span rest = span_of(o->text, o->len), value;
	size_t n_patterns = 0, n_env = 0;
	char tag;

	while (pass_next(&rest, &tag, &value)) {
		n_patterns += tag == 'r' || tag == 'p' || tag == 'k';
		n_env += tag == 'n';
	}
	o->pattern = calloc(n_patterns + 1, sizeof(*o->pattern));
	o->environment = calloc(n_env + 1, sizeof(*o->environment));
	return o->pattern != NULL && o->environment != NULL;
}

static void
take_question(struct pass_private *o, char tag, struct span value)
{
	struct pass *p = &o->pass;

	p->asks = true;
	if (tag == 'c')
		p->cookie = value;
	else if (tag == 'a')
		p->authorization = value;
	else if (tag == 'd')
		p->address = value;
	else if (tag == 'h')
		p->host = value;
	else
		o->pattern[p->token_read.n + p->token_publish.n +
		    p->channels.n++] = value;
}

/* Patterns for reading come first, then for publishing, then what is asked. */
static void
take_field(struct pass_private *o, char tag, struct span value)
{
	struct pass *p = &o->pass;

	switch (tag) {
	case 'u':
		p->user = value;
		break;
	case 's':
		p->has_token = true;
		p->token_user = value;
		break;
	case 'j':
		p->token_id = value;
		break;
	case 'x':
		p->token_expires_s = number_in(value);
		break;
	case 'i':
		p->token_issued_s = number_in(value);
		break;
	case 'r':
		o->pattern[p->token_read.n++] = value;
		break;
	case 'p':
		o->pattern[p->token_read.n + p->token_publish.n++] = value;
		break;
	case 'n':
		o->environment[p->n_env].name = value;
		break;
	case 'v':
		o->environment[p->n_env++].value = value;
		break;
	default:
		take_question(o, tag, value);
		break;
	}
}

static void
pass_read(struct pass_private *o)
{
	struct pass *p = &o->pass;
	struct span rest = span_of(o->text, o->len), value;
	char tag;

	while (pass_next(&rest, &tag, &value))
		take_field(o, tag, value);
	p->token_read.pattern = o->pattern;
	p->token_publish.pattern = o->pattern + p->token_read.n;
	p->channels.pattern = p->token_publish.pattern + p->token_publish.n;
	p->env = o->environment;
	p->own = o;
}

/* ---- making and giving back ---------------------------------------------- */

static void
free_pass(struct pass_private *o)
{
	authorizer_cancel(&o->pass.wait);
	authorizer_unref(&o->pass.answer);
	if (o->text != NULL)
		explicit_bzero(o->text, o->len);
	free(o->text);
	free(o->pattern);
	free(o->environment);
	free(o);
}

static struct pass_private *
new_pass(struct passes *all, struct span text)
{
	struct pass_private *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	o->all = all;
	o->len = text.len;
	o->text = malloc(text.len);
	if (o->text != NULL)
		memcpy(o->text, text.p, text.len);
	if (o->text == NULL || !make_lists(o)) {
		free_pass(o);
		return NULL;
	}
	pass_read(o);
	HASH_ADD_KEYPTR(hh, all->table, o->text, o->len, o);
	if (o->hh.tbl == NULL) {
		free_pass(o);
		return NULL;
	}
	return o;
}

/* The pass with this text, which is wiped; st: how the writing went. */
static enum status
pass_of_text(struct passes *all, struct buf *b, enum status st,
    struct pass **out)
{
	struct pass_private *o = NULL;

	*out = NULL;
	if (st == ST_OK && b->len > 0) {
		struct span text = buf_span(b);

		assert(text.p != NULL);
		HASH_FIND(hh, all->table, text.p, text.len, o);
		if (o == NULL)
			o = new_pass(all, text);
		if (o == NULL)
			st = ST_NOMEM;
		else
			o->refs++;
	}
	buf_fini_wiped(b);
	if (o != NULL)
		*out = &o->pass;
	return st == ST_OK ? ST_OK : ST_NOMEM;
}

enum status
pass_get(struct passes *all, const struct pass_wish *w, struct pass **out)
{
	struct buf b;

	buf_init(&b, PASS_MAX_BYTES);
	return pass_of_text(all, &b, pass_write(&b, w), out);
}

enum status
pass_asking(struct passes *all, const struct pass *p,
    const struct pass_question *q, struct pass **out)
{
	struct buf b;

	buf_init(&b, PASS_MAX_BYTES);
	return pass_of_text(all, &b, write_question(&b, p, q), out);
}

struct pass *
pass_ref(struct pass *p)
{
	if (p != NULL)
		p->own->refs++;
	return p;
}

void
pass_unref(struct pass **pp)
{
	struct pass *p = *pp;

	*pp = NULL;
	if (p == NULL || --p->own->refs > 0)
		return;
	HASH_DEL(p->own->all->table, p->own);
	free_pass(p->own);
}

enum status
passes_new(struct passes **out)
{
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? ST_NOMEM : ST_OK;
}

void
passes_free(struct passes **ap)
{
	struct pass_private *o, *tmp;

	if (*ap == NULL)
		return;
	HASH_ITER (hh, (*ap)->table, o, tmp) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) freed below */
		HASH_DEL((*ap)->table, o);
		free_pass(o);
	}
	free(*ap);
	*ap = NULL;
}

void
passes_each(struct passes *all, void (*fn)(void *arg, struct pass *p),
    void *arg)
{
	struct pass_private *o, *tmp;

	HASH_ITER (hh, all->table, o, tmp)
		fn(arg, &o->pass);
}

size_t
passes_count(const struct passes *all)
{
	return HASH_COUNT(all->table);
}

/* ---- to the rules -------------------------------------------------------- */

static struct span
pass_env_of(void *arg, struct span name)
{
	const struct pass *p = arg;
	size_t i;

	for (i = 0; i < p->n_env; i++)
		if (span_eq(p->env[i].name, name))
			return p->env[i].value;
	return SPAN_NONE;
}

static bool
is_allowed_by_app(const struct pass *p)
{
	return p->answer != NULL && p->answer->result == AUTHORIZER_ALLOWED;
}

struct access_person
pass_person(const struct pass *p)
{
	static const struct access_list nothing = {NULL, 0};
	struct access_person who = {.uid = -1};

	if (p == NULL)
		return who;
	who.user[0] = p->user;
	who.env = pass_env_of;
	who.env_arg = (void *)(uintptr_t)p;
	if (p->has_token) {
		who.user[1] = p->token_user;
		who.token_read = &p->token_read;
		who.token_publish = &p->token_publish;
	}
	if (p->answer != NULL)
		who.app = &nothing;
	if (is_allowed_by_app(p)) {
		who.user[2] = p->answer->user;
		who.app = &p->answer->channels;
	}
	return who;
}

bool
pass_has_user(const struct pass *p, struct span user)
{
	struct access_person who = pass_person(p);
	size_t i;

	for (i = 0; i < ACCESS_MAX_USERS; i++)
		if (who.user[i].len > 0 && span_eq(who.user[i], user))
			return true;
	return false;
}
