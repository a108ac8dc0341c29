/* SPDX-License-Identifier: MIT */
/*
 * The exporter of trace spans: a ring of copies, a thread, libcurl.
 *
 * Slots [tail, tail + n_queued) of the ring are the thread's to read, the
 * others the owner's to fill; the mutex guards those two numbers, never the
 * time that a slot is read or a request takes.  A batch leaves the ring as
 * soon as its text is made, so that the queue is free while it is sent.
 *
 * The thread blocks on the condition and on the network; libcurl may start a
 * thread of its own to resolve a name.  Nobody else uses libcurl.
 */
#include "exporter.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "name.h"

#define CONNECT_MS 2000L
#define WHOLE_MS   5000L
#define POLL_MS    1000 /* libcurl's own timers make it shorter */

#define BODY_MAX   ((size_t)EXPORTER_BATCH * OTLP_SPAN_MAX_BYTES)
#define BODY_KEEP  ((size_t)1 << 18) /* bytes kept between requests */
#define ANSWER_MAX 4096              /* bytes of an answer that are looked at */

#define NEVER UINT64_MAX

/* Then a request sees in time that exporter_free has been called. */
static_assert(POLL_MS * 1000 <= EXPORTER_FLUSH_US, "POLL_MS is too long");

struct exporter_slot {
	struct trace_span s; /* its texts are the two below */
	char channel[NAME_MAX_BYTES];
	char type[NAME_MAX_BYTES];
};

struct exporter {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;

	/* Under the mutex. */
	size_t tail;
	size_t n_queued;
	uint64_t stop_us; /* the thread ends by then; NEVER: it goes on */
	struct exporter_counts counts;
	char why[CURL_ERROR_SIZE]; /* the last request failed; "": never */

	/* The owner's. */
	uint64_t told; /* losses that the log knows of */
	uint64_t tell_us;
	char *shown; /* the endpoint without what may be secret */

	/* The thread's. */
	struct exporter_slot *ring; /* as above */
	struct trace_span batch[EXPORTER_BATCH];
	struct buf body;
	struct buf answer;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
};

/* ---- the thread's end of the queue -------------------------------------- */

static struct timespec
timespec_of(uint64_t us)
{
	return (struct timespec){.tv_sec = (time_t)(us / 1000000),
	    .tv_nsec = (long)(us % 1000000) * 1000};
}

/* With the mutex: until there is a batch, or the thread is to end. */
static void
wait_for_batch(struct exporter *x)
{
	struct timespec due;
	int rc = 0;

	while (x->stop_us == NEVER && x->n_queued == 0)
		(void)pthread_cond_wait(&x->changed, &x->mutex);
	due = timespec_of(clock_mono_us() + EXPORTER_WAIT_US);
	while (x->stop_us == NEVER && x->n_queued < EXPORTER_BATCH && rc == 0)
		rc = pthread_cond_timedwait(&x->changed, &x->mutex, &due);
}

/* Returns the number of spans at the tail of the ring; 0: end. */
static size_t
next_batch(struct exporter *x)
{
	size_t n;

	(void)pthread_mutex_lock(&x->mutex);
	wait_for_batch(x);
	n = x->n_queued < EXPORTER_BATCH ? x->n_queued : EXPORTER_BATCH;
	if (x->stop_us != NEVER && clock_mono_us() >= x->stop_us)
		n = 0;
	(void)pthread_mutex_unlock(&x->mutex);
	return n;
}

static void
exporter_release(struct exporter *x, size_t n)
{
	(void)pthread_mutex_lock(&x->mutex);
	x->tail = (x->tail + n) % EXPORTER_QUEUE;
	x->n_queued -= n;
	(void)pthread_mutex_unlock(&x->mutex);
}

static void
count_taken(struct exporter *x, uint64_t n, uint64_t n_rejected)
{
	if (n_rejected > n)
		n_rejected = n;
	(void)pthread_mutex_lock(&x->mutex);
	x->counts.exported += n - n_rejected;
	x->counts.dropped += n_rejected;
	(void)pthread_mutex_unlock(&x->mutex);
}

static void
count_lost(struct exporter *x, uint64_t n)
{
	(void)pthread_mutex_lock(&x->mutex);
	x->counts.dropped += n;
	x->counts.failed++;
	(void)snprintf(x->why, sizeof(x->why), "%s", x->error);
	(void)pthread_mutex_unlock(&x->mutex);
}

/* ---- requests ----------------------------------------------------------- */

static bool
must_stop(struct exporter *x, int *wait_ms)
{
	uint64_t stop_us, now_us = clock_mono_us();

	(void)pthread_mutex_lock(&x->mutex);
	stop_us = x->stop_us;
	(void)pthread_mutex_unlock(&x->mutex);
	*wait_ms = POLL_MS;
	if (stop_us == NEVER)
		return false;
	if (now_us >= stop_us)
		return true;
	if (stop_us - now_us < POLL_MS * 1000)
		*wait_ms = (int)((stop_us - now_us + 999) / 1000);
	return false;
}

/*
 * libcurl's write callback.  An answer too long for the buffer says nothing
 * that is needed, and is not an error.
 */
static size_t
take_answer(char *p, size_t size, size_t n, void *arg)
{
	status_ignore(buf_append(arg, span_of(p, size * n)));
	return size * n;
}

static CURLcode
wait_for_answer(struct exporter *x)
{
	int running = 1, wait_ms = 0, left;
	const CURLMsg *msg;

	while (
	    curl_multi_perform(x->multi, &running) == CURLM_OK && running > 0) {
		if (must_stop(x, &wait_ms)) {
			(void)snprintf(x->error, sizeof(x->error),
			    "pubd stopped before there was an answer");
			return CURLE_ABORTED_BY_CALLBACK;
		}
		(void)curl_multi_poll(x->multi, NULL, 0, wait_ms, NULL);
	}
	msg = curl_multi_info_read(x->multi, &left);
	return msg != NULL ? msg->data.result : CURLE_FAILED_INIT;
}

static CURLcode
run_request(struct exporter *x)
{
	CURLcode rc;

	if (curl_multi_add_handle(x->multi, x->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	rc = wait_for_answer(x);
	(void)curl_multi_remove_handle(x->multi, x->easy);
	return rc;
}

/* Returns false when the body was not taken; x->error says why. */
static bool
post(struct exporter *x)
{
	struct span body = buf_span(&x->body);
	CURLcode rc;
	long code = 0;

	x->error[0] = '\0';
	buf_clear(&x->answer);
	rc = curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, body.p);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)body.len);
	if (rc == CURLE_OK)
		rc = run_request(x);
	(void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &code);
	if (rc == CURLE_OK && code >= 200 && code <= 299)
		return true;
	if (rc == CURLE_OK)
		(void)snprintf(x->error, sizeof(x->error),
		    "it answered with HTTP status %ld", code);
	else if (x->error[0] == '\0')
		(void)snprintf(x->error, sizeof(x->error), "%s",
		    curl_easy_strerror(rc));
	return false;
}

static void
export_batch(struct exporter *x, size_t n)
{
	enum status st;
	size_t i;

	for (i = 0; i < n; i++)
		x->batch[i] = x->ring[(x->tail + i) % EXPORTER_QUEUE].s;
	buf_clear(&x->body);
	st = otlp_encode(&x->body, x->batch, n);
	exporter_release(x, n);
	if (st != ST_OK) {
		/* UNTESTED: memory that runs out in this thread */
		(void)snprintf(x->error, sizeof(x->error),
		    "no request could be made: %s", status_name(st));
		count_lost(x, n);
	} else if (post(x)) {
		count_taken(x, n, otlp_rejected(buf_span(&x->answer)));
	} else {
		count_lost(x, n);
	}
	buf_shrink(&x->body, BODY_KEEP);
}

static void *
exporter_run(void *arg)
{
	struct exporter *x = arg;
	size_t n;

	while ((n = next_batch(x)) > 0)
		export_batch(x, n);
	return NULL;
}

/* ---- starting ----------------------------------------------------------- */

static const char no_memory[] = "no memory to export trace spans with: free "
				"some, or unset otlp_endpoint";

static void
init_curl_once(void)
{
	/* When it fails, no handle can be made, and that is checked. */
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* The endpoint as a log may show it: no user, no password, no query. */
static enum status
check_endpoint(struct exporter *x, const char *endpoint, struct errmsg *err)
{
	CURLU *u = curl_url();
	CURLUcode rc = CURLUE_OUT_OF_MEMORY;
	char *url = NULL;

	if (u != NULL)
		rc = curl_url_set(u, CURLUPART_URL, endpoint, 0);
	if (rc == CURLUE_OK && strncmp(endpoint, "http://", 7) != 0 &&
	    strncmp(endpoint, "https://", 8) != 0)
		rc = CURLUE_UNSUPPORTED_SCHEME;
	if (rc == CURLUE_OK) {
		(void)curl_url_set(u, CURLUPART_USER, NULL, 0);
		(void)curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
		(void)curl_url_set(u, CURLUPART_QUERY, NULL, 0);
		(void)curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
		rc = curl_url_get(u, CURLUPART_URL, &url, 0);
	}
	if (rc == CURLUE_OK && (x->shown = strdup(url)) == NULL)
		rc = CURLUE_OUT_OF_MEMORY;
	curl_free(url);
	curl_url_cleanup(u);
	if (rc == CURLUE_OK)
		return ST_OK;
	if (rc == CURLUE_OUT_OF_MEMORY) {
		errmsg_set(err, "%s", no_memory);
		return ST_NOMEM;
	}
	errmsg_set(err,
	    "otlp_endpoint: %s; give the http:// or https:// URL of a "
	    "collector, such as http://127.0.0.1:4318/v1/traces",
	    curl_url_strerror(rc));
	return ST_INVALID;
}

/* What may be reached, how, and for how long. */
static CURLcode
set_limits(CURL *c)
{
	CURLcode rc;

#if LIBCURL_VERSION_NUM >= 0x075500
	rc = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	rc = curl_easy_setopt(c, CURLOPT_PROTOCOLS,
	    CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	/* "": none, not even the one that the environment names. */
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_PROXY, "");
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, WHOLE_MS);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* A name that does not resolve must not hold up the end. */
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
#endif
	return rc;
}

static CURLcode
set_request(struct exporter *x, const char *endpoint)
{
	CURL *c = x->easy;
	CURLcode rc = curl_easy_setopt(c, CURLOPT_URL, endpoint);

	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_POST, 1L);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_USERAGENT,
		    "walcast/" WALCAST_VERSION);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->error);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_answer);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c, CURLOPT_WRITEDATA, &x->answer);
	return rc;
}

static bool
add_header(struct exporter *x, const char *line)
{
	struct curl_slist *longer = curl_slist_append(x->headers, line);

	if (longer == NULL)
		return false;
	x->headers = longer;
	return true;
}

static CURLcode
make_handles(struct exporter *x, const char *endpoint)
{
	CURLcode rc;

	x->multi = curl_multi_init();
	x->easy = curl_easy_init();
	/* Without "Expect:" libcurl waits for a 100 before a large body. */
	if (x->multi == NULL || x->easy == NULL ||
	    !add_header(x, "Content-Type: application/json") ||
	    !add_header(x, "Expect:"))
		return CURLE_OUT_OF_MEMORY;
	rc = set_limits(x->easy);
	return rc == CURLE_OK ? set_request(x, endpoint) : rc;
}

static enum status
open_curl(struct exporter *x, const char *endpoint, struct errmsg *err)
{
	CURLcode rc = make_handles(x, endpoint);

	if (rc == CURLE_OK)
		return ST_OK;
	/* UNTESTED: memory that runs out in libcurl, or one without HTTP */
	errmsg_set(err,
	    "cannot export trace spans, libcurl says: %s; mend that, or unset "
	    "otlp_endpoint",
	    curl_easy_strerror(rc));
	return rc == CURLE_OUT_OF_MEMORY ? ST_NOMEM : ST_IO;
}

/* Everything but the thread. */
static void
destroy(struct exporter *x)
{
	curl_easy_cleanup(x->easy);
	(void)curl_multi_cleanup(x->multi);
	curl_slist_free_all(x->headers);
	(void)pthread_cond_destroy(&x->changed);
	(void)pthread_mutex_destroy(&x->mutex);
	buf_fini(&x->body);
	buf_fini(&x->answer);
	free(x->shown);
	free(x->ring);
	free(x);
}

static struct exporter *
allocate(void)
{
	struct exporter *x = calloc(1, sizeof(*x));
	pthread_condattr_t attr;

	if (x == NULL)
		return NULL;
	x->ring = calloc(EXPORTER_QUEUE, sizeof(x->ring[0]));
	if (x->ring == NULL) {
		free(x);
		return NULL;
	}
	x->stop_us = NEVER;
	buf_init(&x->body, BODY_MAX);
	buf_init(&x->answer, ANSWER_MAX);
	/* None of these can fail with these arguments on GNU/Linux. */
	(void)pthread_mutex_init(&x->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&x->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return x;
}

/* Signals must go to the loop, never to this thread. */
static enum status
start_thread(struct exporter *x, struct errmsg *err)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&x->thread, NULL, exporter_run, x);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		return ST_OK;
	/* UNTESTED: the limit of threads; root has none that is low */
	errmsg_set(err,
	    "cannot start a thread to export trace spans: %s; raise the limit "
	    "of processes, or unset otlp_endpoint",
	    strerror(rc));
	return ST_IO;
}

enum status
exporter_new(struct exporter **out, const char *endpoint, struct errmsg *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct exporter *x = allocate();
	enum status st;

	if (x == NULL) {
		errmsg_set(err, "%s", no_memory);
		return ST_NOMEM;
	}
	(void)pthread_once(&once, init_curl_once);
	st = check_endpoint(x, endpoint, err);
	if (st == ST_OK)
		st = open_curl(x, endpoint, err);
	if (st == ST_OK)
		st = start_thread(x, err);
	if (st == ST_OK)
		*out = x;
	else
		destroy(x);
	return st;
}

/* ---- the owner ---------------------------------------------------------- */

void
exporter_free(struct exporter **xp)
{
	struct exporter *x = *xp;

	if (x == NULL)
		return;
	(void)pthread_mutex_lock(&x->mutex);
	x->stop_us = clock_mono_us() + EXPORTER_FLUSH_US;
	(void)pthread_cond_signal(&x->changed);
	(void)pthread_mutex_unlock(&x->mutex);
	(void)pthread_join(x->thread, NULL);
	x->counts.dropped += x->n_queued;
	x->n_queued = 0;
	exporter_tell(x, NEVER);
	destroy(x);
	*xp = NULL;
}

/* `room` bytes at most, so that a slot can hold it. */
static struct span
copy_text(char *room, struct span s)
{
	size_t n = s.len < NAME_MAX_BYTES ? s.len : NAME_MAX_BYTES;

	if (n > 0)
		memcpy(room, s.p, n);
	return span_of(room, n);
}

bool
exporter_offer(struct exporter *x, const struct trace_span *s)
{
	struct exporter_slot *slot;
	bool taken;

	if (x == NULL)
		return false;
	(void)pthread_mutex_lock(&x->mutex);
	taken = x->n_queued < EXPORTER_QUEUE;
	if (taken) {
		slot = &x->ring[(x->tail + x->n_queued) % EXPORTER_QUEUE];
		slot->s = *s;
		slot->s.channel = copy_text(slot->channel, s->channel);
		slot->s.type = copy_text(slot->type, s->type);
		x->n_queued++;
		if (x->n_queued == 1 || x->n_queued == EXPORTER_BATCH)
			(void)pthread_cond_signal(&x->changed);
	} else {
		x->counts.dropped++;
	}
	(void)pthread_mutex_unlock(&x->mutex);
	return taken;
}

struct exporter_counts
exporter_counts(struct exporter *x)
{
	struct exporter_counts counts = {0, 0, 0};

	if (x == NULL)
		return counts;
	(void)pthread_mutex_lock(&x->mutex);
	counts = x->counts;
	(void)pthread_mutex_unlock(&x->mutex);
	return counts;
}

void
exporter_tell(struct exporter *x, uint64_t now_us)
{
	struct exporter_counts counts = exporter_counts(x);
	char why[CURL_ERROR_SIZE];

	if (x == NULL || counts.dropped + counts.failed == x->told ||
	    now_us < x->tell_us)
		return;
	(void)pthread_mutex_lock(&x->mutex);
	(void)memcpy(why, x->why, sizeof(why));
	(void)pthread_mutex_unlock(&x->mutex);
	x->told = counts.dropped + counts.failed;
	x->tell_us = now_us + EXPORTER_TELL_US;
	if (why[0] == '\0')
		log_warnx("%llu trace spans were dropped so far: the queue was "
			  "full, or %s rejected them; sample fewer traces",
		    (unsigned long long)counts.dropped, x->shown);
	else
		log_warnx("%llu trace spans were dropped so far, %llu requests "
			  "to %s failed, the last one so: %s; check that "
			  "collector and otlp_endpoint",
		    (unsigned long long)counts.dropped,
		    (unsigned long long)counts.failed, x->shown, why);
}
