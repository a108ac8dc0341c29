/* SPDX-License-Identifier: MIT */
/*
 * Tokens.  The header and the claims are read here, strictly, and not by
 * libjwt, which would believe the header's `alg` with any key; libjwt checks
 * the signature and makes tokens.  Pure, but for the random `jti` that a caller
 * gives.
 */
#include "token.h"

#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "base64url.h"
#include "json.h"
#include "jsontext.h"
#include "name.h"

#define MAX_HEADER    2048
#define MAX_STRING    256 /* bytes of sub, jti and kid */
#define KEYS_TRIED    8   /* of those without an id */
#define MAX_AUDIENCES 64
#define MAX_MEMBERS   64 /* of an object whose members are read */

/* ---- reading ------------------------------------------------------------- */

struct token_parts {
	struct span header, payload, signature;
};

static bool
split_token(struct span text, struct token_parts *p)
{
	struct span rest = text, more;

	return span_cut(&rest, '.', &p->header) &&
	    span_cut(&rest, '.', &p->payload) &&
	    span_cut(&rest, '.', &p->signature) &&
	    !span_cut(&rest, '.', &more) && p->header.len > 0 &&
	    p->payload.len > 0 && p->signature.len > 0;
}

/* A name that is written with `\/` (PHP does so) is none that is read here. */
static bool
name_is_plain(struct span name)
{
	size_t i;

	for (i = 0; i < name.len; i++)
		if (name.p[i] == '\\' && (++i == name.len || name.p[i] != '/'))
			return false;
	return true;
}

/*
 * No member twice, and no name that could be the same as another one: readers
 * do not agree in which of two counts.  Not more than a token has, either, for
 * each is compared with each.
 */
static bool
members_are_plain(struct span object)
{
	struct span rest = object, seen, name, value, other, unused;
	int left = MAX_MEMBERS;

	while (jsontext_next_member(&rest, &name, &value)) {
		if (!name_is_plain(name) || left-- == 0)
			return false;
		for (seen = rest; jsontext_next_member(&seen, &other, &unused);)
			if (span_eq(other, name))
				return false;
	}
	return true;
}

static bool
is_plain_object(struct span text)
{
	size_t at = 0;

	return jsontext_check(text, &at) == ST_OK &&
	    span_starts(text, SPAN("{")) && members_are_plain(text);
}

/* Decodes a part and parses it; *root is to be freed. */
static enum token_fault
read_object(struct buf *b, struct span part, struct json_parser *p,
    struct json **root)
{
	struct errmsg why;
	enum status st = base64url_decode(b, part);

	if (st == ST_NOMEM)
		return TOKEN_MEMORY;
	if (st != ST_OK || b->len == 0 || !is_plain_object(buf_span(b)))
		return TOKEN_MALFORMED;
	st = json_parse(p, buf_span(b), root, &why);
	if (st == ST_NOMEM)
		return TOKEN_MEMORY;
	return st == ST_OK ? TOKEN_NONE : TOKEN_MALFORMED;
}

/* ---- the header ---------------------------------------------------------- */

struct token_header {
	enum token_algorithm algorithm;
	struct span key_id; /* p NULL: none */
};

/* Of `jwk`, `jku`, `x5c` and the like nothing is ever looked at. */
static enum token_fault
judge_header(const struct json *root, struct token_header *h)
{
	const struct json *alg = json_get(root, "alg");
	const struct json *kid = json_get(root, "kid");
	const struct json *cty = json_get(root, "cty");

	if (json_get(root, "crit") != NULL || json_get(root, "zip") != NULL ||
	    json_get(root, "b64") != NULL)
		return TOKEN_MALFORMED; /* extensions that we do not know */
	if (cty != NULL && span_caseeq(json_text(cty), SPAN("JWT")))
		return TOKEN_MALFORMED; /* a token within it */
	if (json_type(alg) != JSON_STRING ||
	    !token_algorithm_of(json_text(alg), &h->algorithm))
		return TOKEN_ALGORITHM;
	h->key_id = SPAN_NONE;
	if (kid == NULL)
		return TOKEN_NONE;
	h->key_id = json_text(kid);
	if (json_type(kid) != JSON_STRING || h->key_id.len > MAX_STRING)
		return TOKEN_MALFORMED;
	return TOKEN_NONE;
}

/* ---- the signature ------------------------------------------------------- */

/* The token as a string, and a key of that algorithm. */
static bool
is_signed_by(const struct token_key *key, const char *token)
{
	jwt_t *jwt = NULL;
	/* libjwt wants a PEM with its length, and a secret likewise. */
	int failed = jwt_decode(&jwt, token,
	    (const unsigned char *)key->verify.p, (int)key->verify.len);

	if (failed == 0 && jwt_get_alg(jwt) == JWT_ALG_NONE)
		failed = 1;
	jwt_free(jwt);
	return failed == 0;
}

/* Could this key have signed it, by its name? */
static bool
key_is_named(const struct token_key *key, const struct token_header *h,
    bool exactly)
{
	if (exactly)
		return h->key_id.p != NULL && key->id.len > 0 &&
		    span_eq(key->id, h->key_id);
	return h->key_id.p == NULL || key->id.len == 0;
}

/*
 * A key is used with its own algorithms and no other, so that no public key is
 * taken for a secret.  *found is the best that is known of why not.
 */
static bool
try_keys(const struct token_keys *k, const struct token_header *h,
    const char *token, bool exactly, enum token_fault *found)
{
	size_t i, tried = 0;

	for (i = 0; i < token_keys_count(k) && tried < KEYS_TRIED; i++) {
		const struct token_key *key = token_keys_at(k, i);

		if (!key_is_named(key, h, exactly))
			continue;
		if ((key->algorithms & (1u << h->algorithm)) == 0) {
			if (*found == TOKEN_KEY)
				*found = TOKEN_ALGORITHM;
			continue;
		}
		*found = TOKEN_SIGNATURE;
		tried++;
		if (is_signed_by(key, token))
			return true;
	}
	return false;
}

/* The keys that the token names come first, then those without a name. */
static enum token_fault
find_signer(const struct token_keys *k, const struct token_header *h,
    const char *token)
{
	enum token_fault found = TOKEN_KEY;

	if (try_keys(k, h, token, true, &found) ||
	    try_keys(k, h, token, false, &found))
		return TOKEN_NONE;
	return found;
}

/* ---- claims -------------------------------------------------------------- */

/* A NumericDate; only whole numbers.  False: it is something else. */
static bool
read_date(const struct json *root, const char *name, int64_t *out)
{
	const struct json *j = json_get(root, name);

	if (j == NULL)
		return true;
	return json_type(j) == JSON_NUMBER && json_int(j, out) && *out >= 0;
}

static enum token_fault
judge_times(const struct json *root, int64_t now_s, struct token *out)
{
	int64_t not_before = 0;

	out->expires_s = -1;
	out->issued_s = -1;
	if (!read_date(root, "exp", &out->expires_s) || out->expires_s < 0 ||
	    !read_date(root, "nbf", &not_before) ||
	    !read_date(root, "iat", &out->issued_s))
		return TOKEN_CLAIMS;
	if (now_s - TOKEN_LEEWAY_S >= out->expires_s)
		return TOKEN_EXPIRED;
	if (not_before - TOKEN_LEEWAY_S > now_s)
		return TOKEN_NOT_YET;
	return TOKEN_NONE;
}

/* `aud` is a string, or an array of them. */
static bool
names_audience(const struct json *aud, struct span wanted)
{
	size_t i, n = json_count(aud);

	if (json_type(aud) == JSON_STRING)
		return span_eq(json_text(aud), wanted);
	for (i = 0; i < n && i < MAX_AUDIENCES; i++)
		if (json_type(json_at(aud, i)) == JSON_STRING &&
		    span_eq(json_text(json_at(aud, i)), wanted))
			return true;
	return false;
}

static enum token_fault
judge_parties(const struct json *root, const struct token_rules *r)
{
	const struct json *aud = json_get(root, "aud");
	const struct json *iss = json_get(root, "iss");

	if (r->audience.len > 0 &&
	    (aud == NULL || !names_audience(aud, r->audience)))
		return TOKEN_AUDIENCE;
	if (r->issuer.len > 0 &&
	    (iss == NULL || json_type(iss) != JSON_STRING ||
		!span_eq(json_text(iss), r->issuer)))
		return TOKEN_ISSUER;
	return TOKEN_NONE;
}

/* Keeps a string of the token; its buffer was made large enough. */
static struct span
keep_text(struct token *out, struct span s)
{
	char *at = buf_tail(&out->text);

	if (s.len == 0 || s.len > buf_room(&out->text))
		return SPAN("");
	memcpy(at, s.p, s.len);
	buf_grew(&out->text, s.len);
	return span_of(at, s.len);
}

/* A string claim that may be missing. */
static bool
read_string(const struct json *root, const char *name, struct token *out,
    struct span *text)
{
	const struct json *j = json_get(root, name);

	*text = SPAN("");
	if (j == NULL)
		return true;
	if (json_type(j) != JSON_STRING || json_text(j).len > MAX_STRING ||
	    name_has_control(json_text(j)) ||
	    memchr(json_text(j).p, '\0', json_text(j).len) != NULL)
		return false;
	*text = keep_text(out, json_text(j));
	return true;
}

/* A plain variable (RFC 6570, level 1) that ends the topic. */
static bool
ends_with_variable(struct span rest)
{
	size_t i;

	if (rest.len < 3 || rest.p[rest.len - 1] != '}')
		return false;
	for (i = 1; i + 1 < rest.len; i++) {
		char c = rest.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

/*
 * Mercure's topics: a URI template whose only variable ends it, behind a
 * separator, is a prefix here.  Whatever else holds braces grants nothing: it
 * would grant more than the template says.
 */
static struct span
keep_topic(struct token *out, struct span topic)
{
	const char *brace = span_find(topic, '{');
	struct span kept;
	size_t n;

	if (brace == NULL)
		return keep_text(out, topic);
	n = (size_t)(brace - topic.p);
	if (n == 0 || strchr("/.:", brace[-1]) == NULL || brace[-1] == '\0' ||
	    !ends_with_variable(span_skip(topic, n)))
		return SPAN("");
	kept = keep_text(out, span_of(topic.p, n));
	if (kept.len == 0 || keep_text(out, SPAN("*")).len == 0)
		return SPAN("");
	return span_of(kept.p, kept.len + 1);
}

/* Adds the patterns of an array; what is none grants nothing. */
static bool
read_patterns(const struct json *list, bool topics, struct token *out,
    struct span *to, size_t *n)
{
	size_t i;

	if (list == NULL)
		return true;
	if (json_type(list) != JSON_ARRAY)
		return false;
	for (i = 0; i < json_count(list) && *n < TOKEN_MAX_PATTERNS; i++) {
		struct span s = json_text(json_at(list, i));

		if (s.len == 0)
			continue;
		s = topics ? keep_topic(out, s) : keep_text(out, s);
		if (name_pattern_ok(s) && !name_reserved(s))
			to[(*n)++] = s;
	}
	return true;
}

static bool
read_grants(const struct json *root, struct span payload, struct token *out)
{
	const struct json *ours = json_get(root, "walcast");
	const struct json *mercure = json_get(root, "mercure");
	struct span text;

	if ((ours != NULL && json_type(ours) != JSON_OBJECT) ||
	    (mercure != NULL && json_type(mercure) != JSON_OBJECT))
		return false;
	if (jsontext_member(payload, SPAN("walcast"), &text) == ST_OK &&
	    !members_are_plain(text))
		return false;
	if (jsontext_member(payload, SPAN("mercure"), &text) == ST_OK &&
	    !members_are_plain(text))
		return false;
	out->n_read = 0;
	out->n_publish = 0;
	return (ours == NULL ||
		   (read_patterns(json_get(ours, "read"), false, out, out->read,
			&out->n_read) &&
		       read_patterns(json_get(ours, "publish"), false, out,
			   out->publish, &out->n_publish))) &&
	    (mercure == NULL ||
		(read_patterns(json_get(mercure, "subscribe"), true, out,
		     out->read, &out->n_read) &&
		    read_patterns(json_get(mercure, "publish"), true, out,
			out->publish, &out->n_publish)));
}

static enum token_fault
judge_claims(const struct json *root, struct span payload,
    const struct token_rules *r, int64_t now_s, struct token *out)
{
	enum token_fault fault = judge_times(root, now_s, out);

	if (fault == TOKEN_NONE)
		fault = judge_parties(root, r);
	if (fault != TOKEN_NONE)
		return fault;
	/* Nothing in it is longer than the payload; and a `*` for each topic.
	 */
	buf_clear(&out->text);
	if (buf_reserve(&out->text, payload.len + 2 * TOKEN_MAX_PATTERNS) !=
	    ST_OK)
		return TOKEN_MEMORY;
	if (!read_string(root, "sub", out, &out->subject) ||
	    !read_string(root, "jti", out, &out->id) ||
	    !read_grants(root, payload, out))
		return TOKEN_CLAIMS;
	return TOKEN_NONE;
}

/* ---- verifying ----------------------------------------------------------- */

void
token_init(struct token *t)
{
	t->subject = t->id = SPAN("");
	t->n_read = t->n_publish = 0;
	buf_init(&t->text, TOKEN_MAX_BYTES + 2 * TOKEN_MAX_PATTERNS);
}

void
token_fini(struct token *t)
{
	buf_fini(&t->text);
}

/* What verifying needs for a while. */
struct token_desk {
	struct buf header, payload, whole;
	struct json_parser *parser;
	struct json *header_root, *payload_root;
};

static enum token_fault
check_signature(struct token_desk *d, const struct token_keys *k,
    struct span text, const struct token_parts *p)
{
	struct token_header h;
	enum token_fault fault = read_object(&d->header, p->header, d->parser,
	    &d->header_root);

	if (fault == TOKEN_NONE)
		fault = judge_header(d->header_root, &h);
	if (fault != TOKEN_NONE)
		return fault;
	if (buf_append(&d->whole, text) != ST_OK ||
	    buf_append(&d->whole, SPAN("\0")) != ST_OK)
		return TOKEN_MEMORY;
	return find_signer(k, &h, buf_span(&d->whole).p);
}

/* libjwt passes over what is none, and stops at a NUL. */
static bool
is_base64url(struct span text)
{
	struct buf b;
	bool ok;

	buf_init(&b, TOKEN_MAX_BYTES);
	ok = base64url_decode(&b, text) == ST_OK;
	buf_fini(&b);
	return ok;
}

static enum token_fault
verify_at(struct token_desk *d, const struct token_keys *k,
    const struct token_rules *r, struct span text, int64_t now_s,
    struct token *out)
{
	struct token_parts p;
	enum token_fault fault;

	if (!split_token(text, &p))
		return TOKEN_MALFORMED;
	/* Of what nobody has signed no more than the header is read. */
	fault = is_base64url(p.signature) ? check_signature(d, k, text, &p)
					  : TOKEN_MALFORMED;
	if (fault == TOKEN_NONE)
		fault = read_object(&d->payload, p.payload, d->parser,
		    &d->payload_root);
	if (fault == TOKEN_NONE)
		fault = judge_claims(d->payload_root, buf_span(&d->payload), r,
		    now_s, out);
	return fault;
}

enum token_fault
token_verify(const struct token_keys *k, const struct token_rules *r,
    struct span text, int64_t now_s, struct token *out)
{
	struct token_desk d = {.parser = NULL};
	enum token_fault fault;

	if (text.len > TOKEN_MAX_BYTES)
		return TOKEN_TOO_LARGE;
	buf_init(&d.header, MAX_HEADER);
	buf_init(&d.payload, TOKEN_MAX_BYTES);
	buf_init(&d.whole, TOKEN_MAX_BYTES + 1);
	fault = json_parser_new(&d.parser) != ST_OK
	    ? TOKEN_MEMORY
	    : verify_at(&d, k, r, text, now_s, out);
	json_free(&d.header_root);
	json_free(&d.payload_root);
	json_parser_free(&d.parser);
	buf_fini(&d.header);
	buf_fini(&d.payload);
	buf_fini(&d.whole);
	return fault;
}

/* ---- making -------------------------------------------------------------- */

static const struct token_key *
find_signing_key(const struct token_keys *k, struct span id)
{
	size_t i;

	for (i = 0; i < token_keys_count(k); i++) {
		const struct token_key *key = token_keys_at(k, i);

		if (key->sign.len > 0 && (id.len == 0 || span_eq(key->id, id)))
			return key;
	}
	return NULL;
}

/* The first of its algorithms, in libjwt's numbers. */
static jwt_alg_t
algorithm_of(const struct token_key *key)
{
	static const jwt_alg_t numbers[TOKEN_ALGORITHM_COUNT] = {
	    [TOKEN_ALG_HS256] = JWT_ALG_HS256,
	    [TOKEN_ALG_HS384] = JWT_ALG_HS384,
	    [TOKEN_ALG_HS512] = JWT_ALG_HS512,
	    [TOKEN_ALG_RS256] = JWT_ALG_RS256,
	    [TOKEN_ALG_ES256] = JWT_ALG_ES256,
	};
	int i;

	for (i = 0; i < TOKEN_ALGORITHM_COUNT; i++)
		if ((key->algorithms & (1u << i)) != 0)
			return numbers[i];
	return JWT_ALG_NONE;
}

static void
add_claim_list(struct buf *b, const char *name, const struct access_list *l,
    bool *comma)
{
	size_t i;

	if (l->n == 0)
		return;
	buf_add(b, span_str(*comma ? ",\"" : "\""));
	buf_add(b, span_str(name));
	buf_add(b, SPAN("\":["));
	for (i = 0; i < l->n; i++) {
		if (i > 0)
			buf_add(b, SPAN(","));
		jsontext_add_quoted(b, l->pattern[i]);
	}
	buf_add(b, SPAN("]"));
	*comma = true;
}

static void
add_claim(struct buf *b, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	buf_add(b, SPAN(",\""));
	buf_add(b, span_str(name));
	buf_add(b, SPAN("\":"));
	jsontext_add_quoted(b, value);
}

/* All claims as one object, with a NUL behind it. */
static enum status
write_claims(struct buf *b, const struct token_wish *w)
{
	bool comma = false;

	buf_add(b, SPAN("{\"iat\":"));
	buf_add_int64(b, w->issued_s);
	buf_add(b, SPAN(",\"exp\":"));
	buf_add_int64(b, w->expires_s);
	add_claim(b, "sub", w->subject);
	add_claim(b, "jti", w->id);
	add_claim(b, "aud", w->audience);
	add_claim(b, "iss", w->issuer);
	if (w->read.n + w->publish.n > 0) {
		buf_add(b, SPAN(",\"walcast\":{"));
		add_claim_list(b, "read", &w->read, &comma);
		add_claim_list(b, "publish", &w->publish, &comma);
		buf_add(b, SPAN("}"));
	}
	buf_add(b, SPAN("}"));
	buf_add(b, SPAN("\0"));
	return buf_finish(b, 0);
}

static enum status
sign_claims(const struct token_key *key, const char *claims, struct buf *out)
{
	jwt_t *jwt = NULL;
	char *text = NULL;
	enum status st = ST_NOMEM;

	if (jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, claims) == 0 &&
	    (key->id.len == 0 || jwt_add_header(jwt, "kid", key->id.p) == 0) &&
	    jwt_set_alg(jwt, algorithm_of(key),
		(const unsigned char *)key->sign.p, (int)key->sign.len) == 0)
		text = jwt_encode_str(jwt);
	if (text != NULL)
		st = buf_append(out, span_str(text));
	if (text != NULL)
		free(text);
	jwt_free(jwt);
	return st;
}

enum status
token_mint(const struct token_keys *k, const struct token_wish *w,
    struct buf *out, struct errmsg *err)
{
	const struct token_key *key = find_signing_key(k, w->key_id);
	struct buf claims;
	enum status st;

	if (key == NULL) {
		errmsg_set(err,
		    "no key in token_keys can sign%s: it takes a secret or a "
		    "private key",
		    w->key_id.len > 0 ? " and has that name" : "");
		return ST_NOTFOUND;
	}
	buf_init(&claims, TOKEN_MAX_BYTES);
	st = write_claims(&claims, w);
	if (st == ST_OK)
		st = sign_claims(key, buf_span(&claims).p, out);
	buf_fini(&claims);
	if (st != ST_OK)
		errmsg_set(err,
		    "the token cannot be made: it is too large, or "
		    "memory is short");
	return st;
}

const char *
token_fault_name(enum token_fault fault)
{
	static const char *const names[TOKEN_FAULT_COUNT] = {
#define X(member, word) [TOKEN_##member] = (word),
	    TOKEN_FAULTS(X)
#undef X
	};

	return names[fault];
}
