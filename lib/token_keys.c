/* SPDX-License-Identifier: MIT */
/*
 * Keys out of a file.  OpenSSL makes PEM, which libjwt takes, of what a JWK
 * says, and looks whether a key is good enough (RFC 8725 section 3.5).
 */
#include "token_keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base64url.h"
#include "buf.h"
#include "json.h"
#include "jsontext.h"
#include "textfile.h"

#define FILE_BYTES      (256 * 1024)
#define SECRET_BYTES    32 /* at least: RFC 7518 section 3.2 for HS256 */
#define DIFFERENT_BYTES 8
#define RSA_BITS        2048
#define ID_BYTES        128
#define BIT_OF(alg)     (1u << TOKEN_ALG_##alg)
#define ALL_HS          (BIT_OF(HS256) | BIT_OF(HS384) | BIT_OF(HS512))

struct token_keys {
	struct token_key key[TOKEN_KEYS_MAX];
	size_t n;
	const char *warning;
	/* The file as it was read. */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct key_reading {
	struct token_keys *k;
	const char *name;
	struct errmsg *err;
};

static const char *const algorithm_words[TOKEN_ALGORITHM_COUNT] = {
#define X(member, word) [TOKEN_ALG_##member] = (word),
    TOKEN_ALGORITHMS(X)
#undef X
};

bool
token_algorithm_of(struct span word, enum token_algorithm *out)
{
	int i;

	for (i = 0; i < TOKEN_ALGORITHM_COUNT; i++)
		if (span_eq(word, span_str(algorithm_words[i]))) {
			*out = (enum token_algorithm)i;
			return true;
		}
	return false;
}

/* ---- memory that held a key ---------------------------------------------- */

static void
wipe(struct span *s)
{
	if (s->p != NULL) {
		explicit_bzero((void *)(uintptr_t)s->p, s->len);
		free((void *)(uintptr_t)s->p);
	}
	*s = SPAN_NONE;
}

/* A copy with a NUL behind it. */
static enum status
keep_copy(struct span *out, struct span s)
{
	char *p = malloc(s.len + 1);

	if (p == NULL)
		return ST_NOMEM;
	if (s.p != NULL && s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	*out = span_of(p, s.len);
	return ST_OK;
}

void
token_keys_free(struct token_keys **kp)
{
	struct token_keys *k = *kp;
	size_t i;

	if (k == NULL)
		return;
	for (i = 0; i < k->n; i++) {
		wipe(&k->key[i].id);
		wipe(&k->key[i].verify);
		wipe(&k->key[i].sign);
	}
	free(k);
	*kp = NULL;
}

/* ---- one key ------------------------------------------------------------- */

static enum status
refuse_key(struct key_reading *g, const char *why)
{
	errmsg_set(g->err, "%s: %s", g->name, why);
	return ST_INVALID;
}

/* What it will be added as; NULL: there are too many. */
static struct token_key *
new_key(struct key_reading *g)
{
	if (g->k->n < TOKEN_KEYS_MAX)
		return &g->k->key[g->k->n];
	(void)refuse_key(g,
	    "more than 64 keys: leave out those that are no "
	    "longer used");
	return NULL;
}

/* Which of HS* a secret is long enough for. */
static uint32_t
hs_for(size_t len)
{
	return len >= 64 ? ALL_HS
	    : len >= 48  ? BIT_OF(HS256) | BIT_OF(HS384)
			 : BIT_OF(HS256);
}

/* A file that a crash has left is full of one byte. */
static size_t
count_different(struct span s)
{
	bool seen[256] = {false};
	size_t i, n = 0;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		n += !seen[c];
		seen[c] = true;
	}
	return n;
}

static enum status
add_secret(struct key_reading *g, struct span id, struct span secret,
    uint32_t narrow)
{
	struct token_key *key = new_key(g);
	enum status st;

	if (key == NULL)
		return ST_INVALID;
	if (secret.len < SECRET_BYTES)
		return refuse_key(g,
		    "a secret has less than 32 bytes and could be guessed: "
		    "make one with `openssl rand -hex 32`");
	if (count_different(secret) < DIFFERENT_BYTES)
		return refuse_key(g,
		    "a secret has less than 8 different bytes and could be "
		    "guessed: make one with `openssl rand -hex 32`");
	key->algorithms = hs_for(secret.len) & narrow;
	if (key->algorithms == 0)
		return refuse_key(g,
		    "a secret is too short for the algorithm that `alg` "
		    "names, or that is none of HS256, HS384, HS512");
	st = keep_copy(&key->id, id);
	if (st == ST_OK)
		st = keep_copy(&key->verify, secret);
	if (st == ST_OK)
		st = keep_copy(&key->sign, secret);
	g->k->n++;
	return st;
}

static enum status
keep_pem(struct span *out, BIO *bio)
{
	char *p = NULL;
	long n = BIO_get_mem_data(bio, &p);

	return n <= 0 ? ST_NOMEM : keep_copy(out, span_of(p, (size_t)n));
}

static enum status
write_pem(struct token_key *key, EVP_PKEY *pkey, bool is_private)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	enum status st = ST_NOMEM;

	if (bio != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1)
		st = keep_pem(&key->verify, bio);
	BIO_free(bio);
	if (st != ST_OK || !is_private)
		return st;
	bio = BIO_new(BIO_s_secmem());
	st = ST_NOMEM;
	if (bio != NULL &&
	    PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1)
		st = keep_pem(&key->sign, bio);
	BIO_free(bio);
	return st;
}

/* With an exponent of 1 everybody signs (FIPS 186-5, 5.1). */
static bool
exponent_ok(const EVP_PKEY *pkey)
{
	BIGNUM *e = NULL;
	bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
	    BN_is_odd(e) && !BN_is_one(e) && !BN_is_negative(e);

	BN_free(e);
	return ok;
}

/* The algorithm that a public or private key is for; 0: none of ours. */
static uint32_t
algorithms_of(EVP_PKEY *pkey, const char **why)
{
	char group[32] = "";
	size_t n = 0;

	*why = "a key is neither RSA nor on the curve P-256";
	if (EVP_PKEY_is_a(pkey, "RSA")) {
		*why = "an RSA key has less than 2048 bits, or an exponent "
		       "that is even or below 3: make another one";
		return EVP_PKEY_get_bits(pkey) >= RSA_BITS && exponent_ok(pkey)
		    ? BIT_OF(RS256)
		    : 0;
	}
	if (EVP_PKEY_is_a(pkey, "EC") &&
	    EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) == 1 &&
	    strcmp(group, "prime256v1") == 0)
		return BIT_OF(ES256);
	return 0;
}

/* Consumes nothing; pkey NULL: OpenSSL could not read it. */
static enum status
add_pkey(struct key_reading *g, struct span id, EVP_PKEY *pkey, bool is_private,
    uint32_t narrow)
{
	const char *why = "a key cannot be read: write it anew";
	struct token_key *key = new_key(g);
	enum status st;

	if (key == NULL)
		return ST_INVALID;
	key->algorithms = pkey == NULL ? 0 : algorithms_of(pkey, &why);
	if (key->algorithms == 0)
		return refuse_key(g, why);
	key->algorithms &= narrow;
	if (key->algorithms == 0)
		return refuse_key(g, "`alg` of a key does not fit its `kty`");
	st = keep_copy(&key->id, id);
	if (st == ST_OK)
		st = write_pem(key, pkey, is_private);
	g->k->n++;
	return st;
}

/* ---- PEM ----------------------------------------------------------------- */

static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* One block, from its BEGIN line to behind its END line. */
static enum status
add_pem_block(struct key_reading *g, struct span block)
{
	bool is_private = memmem(block.p, block.len, "PRIVATE KEY-----", 16) !=
	    NULL;
	BIO *bio = BIO_new_mem_buf(block.p, (int)block.len);
	EVP_PKEY *pkey;
	enum status st;

	if (bio == NULL)
		return ST_NOMEM;
	pkey = is_private
	    ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
	    : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
	st = add_pkey(g, SPAN(""), pkey, is_private, UINT32_MAX);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return st;
}

#define PEM_BEGIN "-----BEGIN "
#define PEM_END   "-----END "

static enum status
add_pem(struct key_reading *g, struct span text)
{
	enum status st = ST_OK;

	while (st == ST_OK) {
		const char *begin = memmem(text.p, text.len, PEM_BEGIN,
		    strlen(PEM_BEGIN));
		const char *end;

		if (begin == NULL)
			break;
		text = span_skip(text, (size_t)(begin - text.p));
		end = memmem(text.p, text.len, PEM_END, strlen(PEM_END));
		if (end == NULL)
			return refuse_key(g, "a key in PEM has no END line");
		end = memchr(end, '\n', text.len - (size_t)(end - text.p));
		/* `openssl ecparam` writes the curve before the key. */
		if (!span_starts(text, SPAN("-----BEGIN EC PARAMETERS-----")))
			st = add_pem_block(g,
			    span_of(text.p,
				end == NULL ? text.len
					    : (size_t)(end - text.p) + 1));
		text = span_skip(text,
		    end == NULL ? text.len : (size_t)(end - text.p) + 1);
	}
	return st;
}

/* ---- JWK (RFC 7517, RFC 7518 section 6) ---------------------------------- */

/* A member in base64url as a number; NULL: it is missing or malformed. */
static BIGNUM *
number_of(const struct json *jwk, const char *name)
{
	struct buf b;
	BIGNUM *n = NULL;

	buf_init(&b, FILE_BYTES);
	if (json_type(json_get(jwk, name)) == JSON_STRING &&
	    base64url_decode(&b, json_text(json_get(jwk, name))) == ST_OK &&
	    b.len > 0 && b.len <= 1024)
		n = BN_bin2bn((const unsigned char *)buf_span(&b).p, (int)b.len,
		    NULL);
	buf_fini_wiped(&b);
	return n;
}

static EVP_PKEY *
pkey_from(const char *type, OSSL_PARAM_BLD *bld, bool is_private)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey,
		is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
		params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return pkey;
}

/* What an RSA key consists of; the first two make it public. */
static const struct rsa_part {
	const char *member, *param;
} rsa_parts[] = {{"n", OSSL_PKEY_PARAM_RSA_N}, {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D}, {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2}, {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
    {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
#define RSA_PARTS (sizeof(rsa_parts) / sizeof(rsa_parts[0]))

/* A private key without its primes (RFC 7518, 6.3.2) can verify and no more. */
static EVP_PKEY *
rsa_of(const struct json *jwk, bool is_private)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *part[RSA_PARTS] = {NULL};
	size_t i, n = is_private ? RSA_PARTS : 2;
	bool ok = bld != NULL;
	EVP_PKEY *pkey = NULL;

	for (i = 0; ok && i < n; i++) {
		part[i] = number_of(jwk, rsa_parts[i].member);
		ok = part[i] != NULL &&
		    OSSL_PARAM_BLD_push_BN(bld, rsa_parts[i].param, part[i]) ==
			1;
	}
	if (ok)
		pkey = pkey_from("RSA", bld, is_private);
	for (i = 0; i < n; i++)
		BN_clear_free(part[i]);
	OSSL_PARAM_BLD_free(bld);
	return pkey;
}

/* 04 and the two coordinates, 32 bytes each. */
static bool
point_of(const struct json *jwk, unsigned char point[65])
{
	BIGNUM *x = number_of(jwk, "x"), *y = number_of(jwk, "y");
	bool ok = x != NULL && y != NULL &&
	    BN_bn2binpad(x, point + 1, 32) == 32 &&
	    BN_bn2binpad(y, point + 33, 32) == 32;

	point[0] = 4;
	BN_free(x);
	BN_free(y);
	return ok;
}

static EVP_PKEY *
ec_of(const struct json *jwk, bool is_private)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *d = is_private ? number_of(jwk, "d") : NULL;
	unsigned char point[65];
	EVP_PKEY *pkey = NULL;

	if (bld != NULL && (d != NULL || !is_private) &&
	    span_eq(json_text(json_get(jwk, "crv")), SPAN("P-256")) &&
	    point_of(jwk, point) &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
		"prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
		point, sizeof(point)) == 1 &&
	    (d == NULL ||
		OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1))
		pkey = pkey_from("EC", bld, is_private);
	BN_clear_free(d);
	OSSL_PARAM_BLD_free(bld);
	return pkey;
}

static enum status
add_oct(struct key_reading *g, const struct json *jwk, struct span id,
    uint32_t narrow)
{
	struct buf b;
	enum status st;

	buf_init(&b, FILE_BYTES);
	st = base64url_decode(&b, json_text(json_get(jwk, "k")));
	if (st == ST_OK)
		st = add_secret(g, id, b.len == 0 ? SPAN("") : buf_span(&b),
		    narrow);
	else
		st = refuse_key(g, "`k` of a key is no base64url");
	buf_fini_wiped(&b);
	return st;
}

/* Is it for signatures?  `use` and `key_ops` are optional. */
static bool
is_for_signing(const struct json *jwk)
{
	const struct json *use = json_get(jwk, "use");
	const struct json *ops = json_get(jwk, "key_ops");
	size_t i;

	if (use != NULL && !span_eq(json_text(use), SPAN("sig")))
		return false;
	for (i = 0; i < json_count(ops); i++)
		if (span_eq(json_text(json_at(ops, i)), SPAN("verify")) ||
		    span_eq(json_text(json_at(ops, i)), SPAN("sign")))
			return true;
	return ops == NULL;
}

/* The bits that `alg` leaves; 0: it is none of ours. */
static uint32_t
narrowed_by(const struct json *jwk)
{
	const struct json *alg = json_get(jwk, "alg");
	enum token_algorithm a;

	if (alg == NULL)
		return UINT32_MAX;
	return token_algorithm_of(json_text(alg), &a) ? 1u << a : 0;
}

static enum status
add_jwk(struct key_reading *g, const struct json *jwk)
{
	struct span kty = json_text(json_get(jwk, "kty"));
	struct span id = json_text(json_get(jwk, "kid"));
	uint32_t narrow = narrowed_by(jwk);
	bool rsa = span_eq(kty, SPAN("RSA")), ec = span_eq(kty, SPAN("EC"));
	bool is_private = json_get(jwk, rsa ? "p" : "d") != NULL;
	EVP_PKEY *pkey;
	enum status st;

	if (json_type(jwk) != JSON_OBJECT)
		return refuse_key(g, "a key of the set is no object");
	if (json_get(jwk, "kid") != NULL && id.p == NULL)
		return refuse_key(g, "`kid` of a key is no string");
	if (id.len > ID_BYTES)
		return refuse_key(g, "`kid` of a key is longer than 128 bytes");
	if (narrow == 0 || !is_for_signing(jwk) ||
	    (!rsa && !ec && !span_eq(kty, SPAN("oct"))) ||
	    (ec && !span_eq(json_text(json_get(jwk, "crv")), SPAN("P-256")))) {
		g->k->warning = "a key of the set is of another kind than "
				"HS256, HS384, HS512, RS256 or ES256: it is "
				"not used";
		return ST_OK;
	}
	if (id.p == NULL)
		id = SPAN("");
	if (!rsa && !ec)
		return add_oct(g, jwk, id, narrow);
	pkey = rsa ? rsa_of(jwk, is_private) : ec_of(jwk, is_private);
	st = add_pkey(g, id, pkey, is_private, narrow);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return st;
}

static enum status
add_set(struct key_reading *g, const struct json *root)
{
	const struct json *keys = json_get(root, "keys");
	enum status st = ST_OK;
	size_t i;

	if (keys == NULL)
		return add_jwk(g, root);
	if (json_type(keys) != JSON_ARRAY)
		return refuse_key(g,
		    "`keys` is no array: a JWK set is written "
		    "{\"keys\":[...]}");
	for (i = 0; st == ST_OK && i < json_count(keys); i++)
		st = add_jwk(g, json_at(keys, i));
	return st;
}

static enum status
add_json(struct key_reading *g, struct span text)
{
	struct json_parser *p = NULL;
	struct json *root = NULL;
	struct errmsg why;
	size_t at = 0;
	enum status st;

	/* No text of it is shown: it may be a part of a key. */
	if (jsontext_check(text, &at) != ST_OK)
		return refuse_key(g, "it begins like a JWK set and is no JSON");
	st = json_parser_new(&p);
	if (st == ST_OK)
		st = json_parse(p, text, &root, &why);
	if (st == ST_OK)
		st = add_set(g, root);
	else if (st == ST_INVALID)
		st = refuse_key(g, "it begins like a JWK set and is no JSON");
	json_free(&root);
	json_parser_free(&p);
	return st;
}

/* ---- a whole text -------------------------------------------------------- */

static struct span
without_line_end(struct span s)
{
	while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
		s.len--;
	return s;
}

/* Editors leave a byte order mark, and people empty lines. */
static struct span
behind_blanks(struct span s)
{
	if (span_starts(s, SPAN("\xef\xbb\xbf")))
		s = span_skip(s, 3);
	while (s.p != NULL && s.len > 0 &&
	    (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n' ||
		s.p[0] == '\r'))
		s = span_skip(s, 1);
	return s;
}

/*
 * What looks like a key of another form, or like several lines, is no secret:
 * a public key, which everybody knows, must never become one.
 */
static bool
is_no_secret(struct span s)
{
	return s.p == NULL || memmem(s.p, s.len, "-----BEGIN", 10) != NULL ||
	    memmem(s.p, s.len, "---- BEGIN", 10) != NULL ||
	    memmem(s.p, s.len, "\"kty\"", 5) != NULL ||
	    span_starts(s, SPAN("[")) || span_starts(s, SPAN("ssh-")) ||
	    span_starts(s, SPAN("ecdsa-"));
}

static enum status
add_line(struct key_reading *g, struct span text)
{
	if (!is_no_secret(text))
		return add_secret(g, SPAN(""), without_line_end(text),
		    UINT32_MAX);
	return refuse_key(g,
	    "it is neither a JWK set nor keys in PEM, and looks too much like "
	    "keys to be a secret: begin it with { or -----BEGIN, or put a "
	    "secret in it and nothing else");
}

enum status
token_keys_parse(struct token_keys **out, struct span text, const char *name,
    struct errmsg *err)
{
	struct key_reading g = {.name = name, .err = err};
	struct span trimmed = behind_blanks(text);
	enum status st;

	*out = NULL;
	g.k = calloc(1, sizeof(*g.k));
	if (g.k == NULL)
		st = ST_NOMEM;
	else if (span_starts(trimmed, SPAN("{")))
		st = add_json(&g, trimmed);
	else if (span_starts(trimmed, SPAN("-----BEGIN ")))
		st = add_pem(&g, trimmed);
	else
		st = add_line(&g, text.len == 0 ? SPAN("") : text);
	if (st == ST_OK && g.k->n == 0)
		st = refuse_key(&g, "there is no key in it that can be used");
	if (st == ST_NOMEM)
		errmsg_set(err, "%s: not enough memory", name);
	if (st != ST_OK)
		token_keys_free(&g.k);
	*out = g.k;
	return st;
}

/* ---- the file ------------------------------------------------------------ */

static void
note_file(struct token_keys *k, const struct stat *sb)
{
	size_t i;

	k->dev = sb->st_dev;
	k->ino = sb->st_ino;
	k->size = sb->st_size;
	k->mtime = sb->st_mtim;
	for (i = 0; i < k->n; i++)
		if (k->key[i].sign.len > 0 && (sb->st_mode & S_IROTH) != 0)
			k->warning = "everybody on this machine can read it "
				     "and make tokens: chmod o-r it";
}

enum status
token_keys_open(struct token_keys **out, const char *path, struct errmsg *err)
{
	struct buf text;
	struct stat sb;
	enum status st;

	*out = NULL;
	buf_init(&text, FILE_BYTES);
	st = textfile_read(path, "the file of token keys", &text, &sb, err);
	if (st == ST_OK)
		st = token_keys_parse(out,
		    text.len == 0 ? SPAN("") : buf_span(&text), path, err);
	if (st == ST_OK)
		note_file(*out, &sb);
	buf_fini_wiped(&text);
	return st;
}

enum status
token_keys_refresh(struct token_keys **k, const char *path, bool *changed,
    struct errmsg *err)
{
	const struct token_keys *old = *k;
	struct token_keys *fresh = NULL;
	struct stat sb;
	enum status st;

	*changed = false;
	if (stat(path, &sb) == 0 && sb.st_dev == old->dev &&
	    sb.st_ino == old->ino && sb.st_size == old->size &&
	    sb.st_mtim.tv_sec == old->mtime.tv_sec &&
	    sb.st_mtim.tv_nsec == old->mtime.tv_nsec)
		return ST_OK;
	st = token_keys_open(&fresh, path, err);
	if (st != ST_OK)
		return st;
	token_keys_free(k);
	*k = fresh;
	*changed = true;
	return ST_OK;
}

size_t
token_keys_count(const struct token_keys *k)
{
	return k->n;
}

const struct token_key *
token_keys_at(const struct token_keys *k, size_t i)
{
	return &k->key[i];
}

const char *
token_keys_warning(const struct token_keys *k)
{
	return k->warning;
}
