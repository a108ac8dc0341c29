/* SPDX-License-Identifier: MIT */
/*
 * Questions to the application, and the memory of its answers.
 *
 * A credential (cookies, authorization, address, host) has a list of asks, one
 * for each set of channels that was asked about; an ask is waiting for its
 * turn, out, or answered.  Invariants: at most authorizer_max are out; who
 * waits stands in the list of the ask that will answer him; what is answered
 * stands in the list of the forgettable, the oldest first.  Never blocks.
 */
#include "authorizer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "address.h"
#include "app_answer.h"
#include "app_request.h"
#include "app_socket.h"
#include "conf.h"
#include "hashtable.h"
#include "log.h"
#include "loop.h"
#include "sock.h"

#define QUEUES          64  /* of addresses, which take turns */
#define QUEUE_MAX       256 /* that wait in one of them */
#define REMEMBERED_MAX  4096
#define CREDENTIALS_MAX (16 * 1024 * 1024) /* bytes of their texts */
#define ASKS_MAX        16                 /* of one credential */
#define REFUSED_AGE_US  UINT64_C(5000000)
#define FAILED_AGE_US   UINT64_C(1000000)
#define RETRY_US        20000 /* when the application's queue is full */
#define REQUEST_BYTES   (256 * 1024)
#define QUERY_BYTES     (32 * 1024)
#define KEY_BYTES       (256 * 1024)
#define READ_BYTES      8192

enum ask_state { ASK_QUEUED, ASK_OUT, ASK_ANSWERED };

/* Freed when its turn comes; one that was cancelled has no `done`. */
struct authorizer_wait {
	TAILQ_ENTRY(authorizer_wait) link;
	struct authorizer_answer *answer; /* once it is there */
	void (*done)(void *arg, struct authorizer_answer *answer);
	void *arg;
};
TAILQ_HEAD(wait_list, authorizer_wait);

struct ask {
	struct authorizer *a;
	struct credential_entry *of;
	TAILQ_ENTRY(ask) sibling; /* of its credential */
	TAILQ_ENTRY(ask) link;    /* queued, out, or answered */
	struct wait_list waits;
	enum ask_state state;
	bool stale;      /* somebody was revoked since it was asked */
	bool detached;   /* nobody will find it any more */
	bool delivering; /* it is needed until that is done */
	uint8_t queue;
	uint64_t asked_us;
	struct timer deadline;
	struct watch watch;
	struct buf request;
	size_t sent;
	struct app_response response;
	struct authorizer_answer *answer;
	char *names; /* the channels' bytes */
	struct span *channel;
	size_t n_channels;
};
TAILQ_HEAD(ask_list, ask);

struct credential_entry {
	UT_hash_handle hh;
	struct ask_list asks;
	size_t n_asks;
	size_t len;
	char text[];
};

struct authorizer {
	struct loop *loop;
	const struct conf *conf;
	struct app_socket socket;
	struct credential_entry *table;
	struct ask_list queued[QUEUES], out, answered;
	size_t n_queued[QUEUES], n_out, n_answered, n_all_queued;
	size_t credential_bytes;
	unsigned queue_at;
	struct timer kick; /* answers from memory; the application's queue */
	struct wait_list ready;   /* whose ask is answered */
	struct wait_list handing; /* answers on their way to who waits */
	struct authorizer_counters counters;
	struct log_state failing;
	struct log_gate telling; /* one who asks can make it fail */
	bool was_failing;
	int last_errno;  /* why it could not be reached */
	int last_status; /* of an answer that was an error; 0: there was none */
};

/* ---- answers ------------------------------------------------------------- */

/* An answer with its texts behind it. */
struct answer_block {
	struct authorizer_answer answer;
	struct span channel[APP_CHANNELS_MAX];
	char text[];
};

struct authorizer_answer *
authorizer_ref(struct authorizer_answer *a)
{
	a->refs++;
	return a;
}

void
authorizer_unref(struct authorizer_answer **ap)
{
	struct authorizer_answer *a = *ap;

	*ap = NULL;
	if (a != NULL && --a->refs == 0)
		free(a);
}

const char *
authorizer_result_name(enum authorizer_result r)
{
	static const char *const names[AUTHORIZER_RESULT_COUNT] = {
#define X(member, word) [AUTHORIZER_##member] = (word),
	    AUTHORIZER_RESULTS(X)
#undef X
	};

	return names[r];
}

static struct span
copy_span(char **to, struct span s)
{
	char *at = *to;

	if (s.len == 0)
		return SPAN("");
	memcpy(at, s.p, s.len);
	*to += s.len;
	return span_of(at, s.len);
}

/* With one reference; NULL: no memory.  said NULL: nothing came. */
static struct authorizer_answer *
new_answer(enum authorizer_result result, const struct app_answer *said)
{
	size_t i, n = 0;
	struct answer_block *b;
	char *to;

	if (said != NULL) {
		n = said->user.len;
		for (i = 0; i < said->n_channels; i++)
			n += said->channel[i].len;
	}
	b = calloc(1, sizeof(*b) + n);
	if (b == NULL)
		return NULL;
	b->answer.result = result;
	b->answer.refs = 1;
	b->answer.channels.pattern = b->channel;
	to = b->text;
	for (i = 0; said != NULL && i < said->n_channels; i++)
		b->channel[b->answer.channels.n++] = copy_span(&to,
		    said->channel[i]);
	b->answer.user = said == NULL ? SPAN("") : copy_span(&to, said->user);
	return &b->answer;
}

static struct authorizer_answer *
busy_answer(void)
{
	static struct answer_block busy = {
	    .answer = {.result = AUTHORIZER_BUSY, .refs = 1}};

	return authorizer_ref(&busy.answer);
}

/* ---- lists --------------------------------------------------------------- */

static struct ask_list *
ask_list_of(struct ask *k)
{
	switch (k->state) {
	case ASK_QUEUED:
		return &k->a->queued[k->queue];
	case ASK_OUT:
		return &k->a->out;
	case ASK_ANSWERED:
		break;
	}
	return &k->a->answered;
}

static void
count_ask(struct ask *k, size_t by)
{
	struct authorizer *a = k->a;

	if (k->state == ASK_QUEUED) {
		a->n_queued[k->queue] += by;
		a->n_all_queued += by;
	} else if (k->state == ASK_OUT) {
		a->n_out += by;
	} else {
		a->n_answered += by;
	}
}

static void
put_ask(struct ask *k, enum ask_state state)
{
	k->state = state;
	TAILQ_INSERT_TAIL(ask_list_of(k), k, link);
	count_ask(k, 1);
}

static void
take_ask(struct ask *k)
{
	TAILQ_REMOVE(ask_list_of(k), k, link);
	count_ask(k, (size_t)-1);
}

static void
free_credential(struct authorizer *a, struct credential_entry *c)
{
	HASH_DEL(a->table, c);
	a->credential_bytes -= c->len;
	explicit_bzero(c->text, c->len);
	free(c);
}

/* Nobody will find it by its credential any more. */
static void
detach_ask(struct ask *k)
{
	struct credential_entry *c = k->of;

	if (k->detached)
		return;
	k->detached = true;
	TAILQ_REMOVE(&c->asks, k, sibling);
	c->n_asks--;
	k->of = NULL;
	if (c->n_asks == 0)
		free_credential(k->a, c);
}

static void
wipe_request(struct ask *k)
{
	buf_fini_wiped(&k->request);
}

static void
close_ask(struct ask *k)
{
	int fd = k->watch.fd;

	timer_cancel(k->a->loop, &k->deadline);
	if (fd >= 0) {
		loop_del(k->a->loop, &k->watch);
		(void)close(fd);
	}
	wipe_request(k);
	app_response_fini(&k->response);
}

static void
free_ask(struct ask *k)
{
	assert(TAILQ_EMPTY(&k->waits));
	take_ask(k);
	detach_ask(k);
	close_ask(k);
	authorizer_unref(&k->answer);
	free(k->names);
	free(k->channel);
	free(k);
}

/* ---- delivering ---------------------------------------------------------- */

/*
 * Hands out what is in a->handing.  Who is told may learn of a revocation on
 * his way in, and then those behind him get another answer
 * (authorizer_forget).
 */
static void
hand_out(struct authorizer *a)
{
	struct authorizer_wait *w;

	while ((w = TAILQ_FIRST(&a->handing)) != NULL) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) unlinked */
		struct authorizer_answer *answer = w->answer;

		TAILQ_REMOVE(&a->handing, w, link);
		if (w->done != NULL)
			w->done(w->arg, answer);
		authorizer_unref(&answer);
		free(w);
	}
}

static void
deliver(struct ask *k)
{
	struct authorizer_wait *w;

	TAILQ_FOREACH (w, &k->waits, link)
		w->answer = authorizer_ref(k->answer);
	TAILQ_CONCAT(&k->a->handing, &k->waits, link);
	hand_out(k->a);
}

static uint64_t
age_of(const struct authorizer *a, enum authorizer_result result,
    const struct app_answer *said)
{
	int64_t age_s = said == NULL || said->max_age_s < 0
	    ? a->conf->authorizer_age_s
	    : said->max_age_s;
	uint64_t age_us = (uint64_t)age_s * 1000000;

	if (result == AUTHORIZER_ALLOWED)
		return age_us;
	if (result != AUTHORIZER_REFUSED)
		return FAILED_AGE_US;
	return age_us < REFUSED_AGE_US ? age_us : REFUSED_AGE_US;
}

static void
log_result(struct authorizer *a, enum authorizer_result result, uint64_t now_us)
{
	bool failed = result != AUTHORIZER_ALLOWED &&
	    result != AUTHORIZER_REFUSED && result != AUTHORIZER_BUSY;

	if (result == AUTHORIZER_BUSY || (!failed && !a->was_failing) ||
	    !log_state(&a->failing, failed ? 1 : 0, now_us) ||
	    !log_gate(&a->telling, now_us))
		return;
	a->was_failing = failed;
	if (result == AUTHORIZER_UNREACHABLE)
		log_warnx("cannot connect to the application %s: %s: new "
			  "streams that it decides about are told to come "
			  "back; is it there, and may this user open its "
			  "socket?",
		    a->conf->authorizer, strerror(a->last_errno));
	else if (failed)
		log_warnx("the application %s does not answer as it should "
			  "(%s, status %d): new streams that it decides about "
			  "are told to come back; look at its own log",
		    a->conf->authorizer, authorizer_result_name(result),
		    a->last_status);
	else
		log_warnx("the application %s answers again",
		    a->conf->authorizer);
	a->last_status = 0;
}

static bool
is_failure(const struct authorizer_answer *answer)
{
	return answer->result != AUTHORIZER_ALLOWED &&
	    answer->result != AUTHORIZER_REFUSED;
}

static bool
allows_one(const struct authorizer_answer *answer, struct span channel)
{
	size_t i;

	if (answer->result != AUTHORIZER_ALLOWED)
		return false;
	for (i = 0; i < answer->channels.n; i++)
		if (access_covers(answer->channels.pattern[i], channel))
			return true;
	return false;
}

static bool
same_channels(const struct ask *k, const struct access_list *l)
{
	size_t i;

	if (k->n_channels != l->n)
		return false;
	for (i = 0; i < l->n; i++)
		if (!span_eq(k->channel[i], l->pattern[i]))
			return false;
	return true;
}

/* Does `old` say what a newer answer to k does not say any more? */
static bool
is_superseded(const struct ask *old, const struct ask *k)
{
	const struct access_list asked = {k->channel, k->n_channels};
	size_t i;

	if (is_failure(k->answer))
		return is_failure(old->answer) && same_channels(old, &asked);
	if (k->answer->result == AUTHORIZER_REFUSED ||
	    same_channels(old, &asked))
		return true;
	for (i = 0; i < k->n_channels; i++)
		if (allows_one(old->answer, k->channel[i]) &&
		    !allows_one(k->answer, k->channel[i]))
			return true;
	return false;
}

/* What the application has said now counts, not what it said before. */
static void
forget_superseded(struct ask *k)
{
	struct ask *old, *next;

	if (k->detached)
		return;
	for (old = TAILQ_FIRST(&k->of->asks); old != NULL; old = next) {
		next = TAILQ_NEXT(old, sibling);
		if (old != k && old->state == ASK_ANSWERED &&
		    !old->delivering && is_superseded(old, k))
			free_ask(old);
	}
}

/* The oldest answers go when there are too many. */
static void
trim_memory(struct authorizer *a)
{
	while (a->n_answered > REMEMBERED_MAX ||
	    (a->n_answered > 0 && a->credential_bytes > CREDENTIALS_MAX))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) unlinked */
		free_ask(TAILQ_FIRST(&a->answered));
}

static void kick_queue(struct authorizer *a);

/* It has come to an end; who waits is told. */
static void
finish_ask(struct ask *k, enum authorizer_result result,
    const struct app_answer *said)
{
	struct authorizer *a = k->a;
	uint64_t now_us = loop_now_us(a->loop);

	if (k->stale)
		result = AUTHORIZER_BUSY;
	a->counters.n_results[result]++;
	if (result == AUTHORIZER_ALLOWED || result == AUTHORIZER_REFUSED)
		hist_add(&a->counters.latency, HIST_TIME, now_us - k->asked_us,
		    1);
	log_result(a, result, now_us);
	k->answer = new_answer(result,
	    result == AUTHORIZER_ALLOWED ? said : NULL);
	if (k->answer == NULL)
		k->answer = busy_answer();
	else
		k->answer->asked_us = k->asked_us;
	if (k->answer->result != AUTHORIZER_BUSY)
		k->answer->until_us = now_us + age_of(a, result, said);
	close_ask(k);
	take_ask(k);
	put_ask(k, ASK_ANSWERED);
	forget_superseded(k);
	k->delivering = true;
	deliver(k);
	k->delivering = false;
	if (k->answer->result == AUTHORIZER_BUSY || k->detached)
		free_ask(k);
	trim_memory(a);
	kick_queue(a);
}

/* ---- talking ------------------------------------------------------------- */

/* Such as the 404 of a script that is not there. */
static void
fail_with_status(struct ask *k, int status)
{
	k->a->last_status = status;
	finish_ask(k, AUTHORIZER_ERROR, NULL);
}

static void
read_answer(struct ask *k)
{
	struct app_answer said = {.status = 0};

	/* PHP says 200 of a script that died when it shows its errors. */
	if (k->response.protocol_status != 0 || k->response.app_status != 0 ||
	    !k->response.head_whole ||
	    app_answer_read(buf_span(&k->response.head), &said) != ST_OK)
		finish_ask(k, AUTHORIZER_ERROR, NULL);
	else if (said.status >= 200 && said.status < 300)
		finish_ask(k, AUTHORIZER_ALLOWED, &said);
	else if (said.status == 401 || said.status == 403)
		finish_ask(k, AUTHORIZER_REFUSED, &said);
	else
		fail_with_status(k, said.status);
}

static void
on_bytes(struct ask *k)
{
	char piece[READ_BYTES];
	size_t n = 0;
	enum status st = sock_read(k->watch.fd, piece, sizeof(piece), &n);

	if (st == ST_AGAIN)
		return;
	if (st != ST_OK) {
		finish_ask(k, AUTHORIZER_ERROR, NULL);
		return;
	}
	st = app_response_take(&k->response, span_of(piece, n));
	explicit_bzero(piece, n);
	if (st == ST_END)
		read_answer(k);
	else if (st != ST_OK)
		finish_ask(k, AUTHORIZER_ERROR, NULL);
}

/* False: it is finished. */
static bool
send_request(struct ask *k)
{
	size_t n = 0;
	enum status st = sock_write(k->watch.fd,
	    span_skip(buf_span(&k->request), k->sent), &n);

	if (st == ST_OK)
		k->sent += n;
	if (st != ST_OK && st != ST_AGAIN) {
		finish_ask(k,
		    k->sent == 0 ? AUTHORIZER_UNREACHABLE : AUTHORIZER_ERROR,
		    NULL);
		return false;
	}
	if (k->sent < k->request.len)
		return true;
	if (loop_mod(k->a->loop, &k->watch, EPOLLIN) == ST_OK)
		return true;
	finish_ask(k, AUTHORIZER_ERROR, NULL);
	return false;
}

static void
on_application(struct watch *w, uint32_t events)
{
	struct ask *k = OWNER_OF(w, struct ask, watch);

	if ((events & EPOLLOUT) != 0 && k->sent < k->request.len &&
	    !send_request(k))
		return;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		on_bytes(k);
}

static void
on_ask_deadline(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	finish_ask(OWNER_OF(t, struct ask, deadline), AUTHORIZER_TIMEOUT, NULL);
}

/* ST_AGAIN: the application's own queue is full. */
static enum status
start_ask(struct ask *k)
{
	enum status st = app_socket_connect(&k->a->socket, &k->watch.fd);

	if (st != ST_OK)
		return st;
	st = loop_add(k->a->loop, &k->watch, EPOLLIN | EPOLLOUT);
	if (st != ST_OK) {
		(void)close(k->watch.fd);
		k->watch.fd = -1;
		return st;
	}
	take_ask(k);
	put_ask(k, ASK_OUT);
	return ST_OK;
}

/* The first of the next queue that has one; addresses take turns. */
static struct ask *
next_queued(struct authorizer *a)
{
	unsigned i;

	for (i = 1; a->n_all_queued > 0 && i <= QUEUES; i++) {
		struct ask *k = TAILQ_FIRST(
		    &a->queued[(a->queue_at + i) % QUEUES]);

		if (k != NULL)
			return k;
	}
	return NULL;
}

static void
deliver_ready(struct authorizer *a)
{
	TAILQ_CONCAT(&a->handing, &a->ready, link);
	hand_out(a);
}

static void
kick_at(struct authorizer *a, uint64_t at_us)
{
	if (a->kick.slot == 0 || at_us < a->kick.due_us)
		status_ignore(timer_set(a->loop, &a->kick, at_us));
}

static void
kick_queue(struct authorizer *a)
{
	if (a->n_all_queued > 0)
		kick_at(a, loop_now_us(a->loop));
}

static void
on_kick(struct timer *t, uint64_t now_us)
{
	struct authorizer *a = OWNER_OF(t, struct authorizer, kick);
	struct ask *k;
	enum status st = ST_OK;

	deliver_ready(a);
	while (st == ST_OK && a->n_out < (size_t)a->conf->authorizer_max &&
	    (k = next_queued(a)) != NULL) {
		a->queue_at = k->queue;
		st = start_ask(k);
		if (st == ST_AGAIN)
			kick_at(a, now_us + RETRY_US);
		else if (st != ST_OK) {
			a->last_errno = errno;
			finish_ask(k, AUTHORIZER_UNREACHABLE, NULL);
			st = ST_OK;
		}
	}
}

/* ---- the request --------------------------------------------------------- */

static void
add_percent(struct buf *out, struct span s)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char coded[3] = {'%', hex[c >> 4], hex[c & 15]};

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_')
			buf_add(out, span_of(s.p + i, 1));
		else
			buf_add(out, span_of(coded, 3));
	}
}

/* channel=a&channel=b%2A, and a,b* */
static enum status
write_lists(const struct access_list *l, struct buf *query, struct buf *list)
{
	size_t i;
	enum status st;

	for (i = 0; i < l->n; i++) {
		buf_add(query, i == 0 ? SPAN("channel=") : SPAN("&channel="));
		add_percent(query, l->pattern[i]);
		if (i > 0)
			buf_add(list, SPAN(","));
		buf_add(list, l->pattern[i]);
	}
	st = buf_finish(query, 0);
	return st == ST_OK ? buf_finish(list, 0) : st;
}

static struct span
or_empty(struct span s)
{
	return s.p == NULL ? SPAN("") : s;
}

/* The file's name, as PHP wants it for SCRIPT_NAME. */
static struct span
script_name(struct span path)
{
	const char *slash = memrchr(path.p, '/', path.len);

	return slash == NULL ? path : span_skip(path, (size_t)(slash - path.p));
}

static enum status
write_request(struct ask *k, const struct authorizer_question *q)
{
	struct span script = span_str(k->a->socket.script);
	struct buf query, list;
	enum status st;

	buf_init(&query, QUERY_BYTES);
	buf_init(&list, QUERY_BYTES);
	st = write_lists(&q->channels, &query, &list);
	if (st == ST_OK) {
		const struct app_param params[] = {
		    {"GATEWAY_INTERFACE", SPAN("CGI/1.1")},
		    {"SERVER_SOFTWARE", SPAN("walcast")},
		    {"SERVER_PROTOCOL", SPAN("HTTP/1.1")},
		    {"REQUEST_METHOD", SPAN("GET")},
		    {"REDIRECT_STATUS", SPAN("200")},
		    {"SCRIPT_FILENAME", script},
		    {"SCRIPT_NAME", script_name(script)},
		    {"REQUEST_URI", script_name(script)},
		    {"QUERY_STRING", buf_span(&query)},
		    {"CONTENT_LENGTH", SPAN("")},
		    {"REMOTE_ADDR", or_empty(q->address)},
		    {"SERVER_NAME", or_empty(q->host)},
		    {"HTTP_HOST", or_empty(q->host)},
		    {"HTTP_COOKIE", or_empty(q->cookie)},
		    {"HTTP_AUTHORIZATION", or_empty(q->authorization)},
		    {"HTTP_X_WALCAST_CHANNELS", buf_span(&list)},
		};

		st = app_request_put(&k->request, params,
		    sizeof(params) / sizeof(params[0]));
	}
	buf_fini(&query);
	buf_fini(&list);
	return st;
}

/* ---- asking -------------------------------------------------------------- */

static void
add_key_part(struct buf *b, struct span s)
{
	uint32_t n = (uint32_t)s.len;

	buf_add(b, span_of((const char *)&n, sizeof(n)));
	buf_add(b, s);
}

static enum status
write_credential_key(struct buf *b, const struct authorizer_question *q)
{
	add_key_part(b, q->cookie);
	add_key_part(b, q->authorization);
	add_key_part(b, q->address);
	add_key_part(b, q->host);
	return buf_finish(b, 0);
}

static struct credential_entry *
new_credential(struct authorizer *a, struct span key)
{
	struct credential_entry *c = calloc(1, sizeof(*c) + key.len);

	if (c == NULL)
		return NULL;
	c->len = key.len;
	memcpy(c->text, key.p, key.len);
	TAILQ_INIT(&c->asks);
	HASH_ADD_KEYPTR(hh, a->table, c->text, c->len, c);
	if (c->hh.tbl == NULL) {
		explicit_bzero(c->text, c->len);
		free(c);
		return NULL;
	}
	a->credential_bytes += c->len;
	return c;
}

/* The credential's entry, new if there is none; NULL: no memory. */
static struct credential_entry *
find_credential(struct authorizer *a, const struct authorizer_question *q)
{
	struct credential_entry *c = NULL;
	struct buf key;

	buf_init(&key, KEY_BYTES);
	if (write_credential_key(&key, q) == ST_OK) {
		struct span s = buf_span(&key);

		assert(s.p != NULL);
		HASH_FIND(hh, a->table, s.p, s.len, c);
		if (c == NULL)
			c = new_credential(a, s);
	}
	buf_fini_wiped(&key);
	return c;
}

static bool
answer_covers(const struct authorizer_answer *answer,
    const struct access_list *l)
{
	size_t i;

	if (answer->result != AUTHORIZER_ALLOWED)
		return false;
	for (i = 0; i < l->n; i++)
		if (!allows_one(answer, l->pattern[i]))
			return false;
	return true;
}

/*
 * An ask that answers this question or will, and is not too old.  A failure
 * counts only where no answer does.
 */
static struct ask *
find_ask(struct authorizer *a, struct credential_entry *c,
    const struct access_list *l, bool fresh)
{
	uint64_t now_us = loop_now_us(a->loop);
	struct ask *k, *failed = NULL;

	TAILQ_FOREACH (k, &c->asks, sibling) {
		bool same = same_channels(k, l);

		if (k->stale || (!same && k->state != ASK_ANSWERED))
			continue;
		if (k->state != ASK_ANSWERED)
			return k;
		if (fresh || now_us >= k->answer->until_us)
			continue;
		if (same && is_failure(k->answer))
			failed = k;
		else if (same || answer_covers(k->answer, l))
			return k;
	}
	return failed;
}

static bool
copy_channels(struct ask *k, const struct access_list *l)
{
	size_t i, n = 0;
	char *to;

	for (i = 0; i < l->n; i++)
		n += l->pattern[i].len;
	k->names = malloc(n + 1);
	k->channel = calloc(l->n + 1, sizeof(*k->channel));
	if (k->names == NULL || k->channel == NULL)
		return false;
	to = k->names;
	for (i = 0; i < l->n; i++)
		k->channel[k->n_channels++] = copy_span(&to, l->pattern[i]);
	return true;
}

/* What is answered and of no use any more makes room. */
static void
make_place(struct credential_entry *c)
{
	struct ask *k, *next;

	for (k = TAILQ_FIRST(&c->asks); k != NULL && c->n_asks >= ASKS_MAX;
	     k = next) {
		next = TAILQ_NEXT(k, sibling);
		if (k->state == ASK_ANSWERED && !k->delivering && c->n_asks > 1)
			free_ask(k);
	}
}

static uint8_t
address_queue(struct span address)
{
	uint64_t key = address_key(address);

	return (uint8_t)(hashtable_hash(&key, sizeof(key)) % QUEUES);
}

static void
drop_empty(struct authorizer *a, struct credential_entry *c)
{
	if (c->n_asks == 0)
		free_credential(a, c);
}

/* Queued; NULL: there is no room, or no memory. */
static struct ask *
new_ask(struct authorizer *a, struct credential_entry *c,
    const struct authorizer_question *q)
{
	uint8_t queue = address_queue(q->address);
	struct ask *k;

	k = a->n_queued[queue] >= QUEUE_MAX ? NULL : calloc(1, sizeof(*k));
	if (k == NULL) {
		drop_empty(a, c);
		return NULL;
	}
	k->a = a;
	k->of = c;
	k->queue = queue;
	k->asked_us = loop_now_us(a->loop);
	k->watch = (struct watch){.fd = -1, .fn = on_application};
	k->deadline = (struct timer){.fn = on_ask_deadline, .is_of_peer = true};
	TAILQ_INIT(&k->waits);
	buf_init(&k->request, REQUEST_BYTES);
	app_response_init(&k->response);
	TAILQ_INSERT_TAIL(&c->asks, k, sibling);
	c->n_asks++;
	put_ask(k, ASK_QUEUED);
	if (copy_channels(k, &q->channels) && write_request(k, q) == ST_OK &&
	    timer_set(a->loop, &k->deadline,
		k->asked_us +
		    (uint64_t)a->conf->authorizer_timeout_ms * 1000) == ST_OK)
		return k;
	free_ask(k);
	return NULL;
}

/* Finds or makes the ask that this wait belongs to; NULL: too much is asked. */
static struct ask *
get_ask(struct authorizer *a, const struct authorizer_question *q, bool fresh)
{
	struct credential_entry *c = find_credential(a, q);
	struct ask *k;

	if (c == NULL)
		return NULL;
	k = find_ask(a, c, &q->channels, fresh);
	if (k != NULL) {
		if (k->state == ASK_ANSWERED)
			a->counters.n_cached++;
		else
			a->counters.n_shared++;
		return k;
	}
	make_place(c);
	if (c->n_asks >= ASKS_MAX)
		return NULL;
	return new_ask(a, c, q);
}

enum status
authorizer_ask(struct authorizer *a, const struct authorizer_question *q,
    bool fresh, void (*done)(void *arg, struct authorizer_answer *answer),
    void *arg, struct authorizer_wait **wait)
{
	struct authorizer_wait *w = calloc(1, sizeof(*w));
	struct ask *k;

	*wait = NULL;
	if (w == NULL)
		return ST_NOMEM;
	w->done = done;
	w->arg = arg;
	*wait = w;
	k = get_ask(a, q, fresh);
	if (k != NULL && k->state != ASK_ANSWERED) {
		TAILQ_INSERT_TAIL(&k->waits, w, link);
	} else {
		if (k == NULL)
			a->counters.n_results[AUTHORIZER_BUSY]++;
		w->answer = k == NULL ? busy_answer()
				      : authorizer_ref(k->answer);
		TAILQ_INSERT_TAIL(&a->ready, w, link);
	}
	kick_at(a, loop_now_us(a->loop));
	return ST_OK;
}

/* Its answer goes to nobody. */
void
authorizer_cancel(struct authorizer_wait **wait)
{
	if (*wait != NULL)
		(*wait)->done = NULL;
	*wait = NULL;
}

/* Those who would be handed an answer of before. */
static void
forget_on_its_way(struct wait_list *l, struct span user)
{
	struct authorizer_wait *w;

	TAILQ_FOREACH (w, l, link) {
		if (user.len > 0 && !span_eq(w->answer->user, user))
			continue;
		authorizer_unref(&w->answer);
		w->answer = busy_answer();
	}
}

void
authorizer_forget(struct authorizer *a, struct span user)
{
	struct ask *k, *next;
	unsigned i;

	for (k = TAILQ_FIRST(&a->answered); k != NULL; k = next) {
		next = TAILQ_NEXT(k, link);
		if (user.len > 0 && !span_eq(k->answer->user, user))
			continue;
		if (k->delivering)
			detach_ask(k);
		else
			free_ask(k);
	}
	forget_on_its_way(&a->ready, user);
	forget_on_its_way(&a->handing, user);
	/* Whom these name nobody knows so far. */
	TAILQ_FOREACH (k, &a->out, link)
		k->stale = true;
	for (i = 0; i < QUEUES; i++)
		TAILQ_FOREACH (k, &a->queued[i], link)
			k->stale = true;
}

/* ---- making -------------------------------------------------------------- */

enum status
authorizer_check(struct span value, struct errmsg *err)
{
	struct app_socket s;

	return value.len == 0 ? ST_OK : app_socket_parse(&s, value, err);
}

enum status
authorizer_new(struct authorizer **out, struct loop *l, const struct conf *c)
{
	struct authorizer *a;
	struct errmsg err = {""};
	unsigned i;

	*out = NULL;
	if (c->authorizer[0] == '\0')
		return ST_OK;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return ST_NOMEM;
	a->loop = l;
	a->conf = c;
	a->kick.fn = on_kick;
	for (i = 0; i < QUEUES; i++)
		TAILQ_INIT(&a->queued[i]);
	TAILQ_INIT(&a->out);
	TAILQ_INIT(&a->answered);
	TAILQ_INIT(&a->ready);
	TAILQ_INIT(&a->handing);
	if (app_socket_parse(&a->socket, span_str(c->authorizer), &err) !=
	    ST_OK) {
		free(a);
		return ST_INVALID;
	}
	*out = a;
	return ST_OK;
}

static void
drop_waits(struct wait_list *l)
{
	struct authorizer_wait *w;

	while ((w = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, w, link);
		authorizer_unref(&w->answer);
		free(w);
	}
}

static void
free_asks(struct ask_list *l)
{
	struct ask *k;

	while ((k = TAILQ_FIRST(l)) != NULL) {
		drop_waits(&k->waits);
		free_ask(k);
	}
}

/* Who waits must have cancelled. */
void
authorizer_free(struct authorizer **ap)
{
	struct authorizer *a = *ap;
	unsigned i;

	*ap = NULL;
	if (a == NULL)
		return;
	for (i = 0; i < QUEUES; i++)
		free_asks(&a->queued[i]);
	free_asks(&a->out);
	free_asks(&a->answered);
	drop_waits(&a->ready);
	drop_waits(&a->handing);
	timer_cancel(a->loop, &a->kick);
	free(a);
}

/* ---- for the metrics ----------------------------------------------------- */

size_t
authorizer_n_asked(const struct authorizer *a)
{
	return a->n_out + a->n_all_queued;
}

size_t
authorizer_n_remembered(const struct authorizer *a)
{
	return a->n_answered;
}

const struct authorizer_counters *
authorizer_counters(const struct authorizer *a)
{
	return &a->counters;
}
