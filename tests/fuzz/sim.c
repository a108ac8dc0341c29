/* SPDX-License-Identifier: MIT */
/* A kernel of numbers. */
#include "sim.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "fuzz.h"
#include "loop.h"

#define FIRST_FD   1000 /* above all that are real */
#define TIMERS_MAX 4
#define TEXT_MAX   ((size_t)1 << 24)

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);
int __real_close(int fd);
int __wrap_close(int fd);

struct loop {
	uint64_t now_us;
	struct timer *timer[TIMERS_MAX];
	struct {
		struct watch *watch; /* NULL: not in the loop */
		uint32_t events;
	} at[SIM_CONNS];
};

static struct loop the_loop = {.now_us = 1000000};
static struct sim_conn conns[SIM_CONNS];

/* ---- the loop ---------------------------------------------------------- */

enum status
loop_new(struct loop **out)
{
	*out = &the_loop;
	return ST_OK;
}

void
loop_free(struct loop **l)
{
	*l = NULL;
}

static unsigned
number_of(int fd)
{
	MUST(fd >= FIRST_FD && fd < FIRST_FD + SIM_CONNS);
	return (unsigned)(fd - FIRST_FD);
}

enum status
loop_add(struct loop *l, struct watch *w, uint32_t events)
{
	unsigned n = number_of(w->fd);

	MUST(l->at[n].watch == NULL);
	l->at[n].watch = w;
	l->at[n].events = events;
	return ST_OK;
}

enum status
loop_mod(struct loop *l, struct watch *w, uint32_t events)
{
	unsigned n = number_of(w->fd);

	MUST(l->at[n].watch == w);
	l->at[n].events = events;
	return ST_OK;
}

void
loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	MUST(l->at[number_of(w->fd)].watch == w);
	l->at[number_of(w->fd)].watch = NULL;
	w->fd = -1;
}

enum status
timer_set(struct loop *l, struct timer *t, uint64_t due_us)
{
	t->due_us = due_us;
	if (t->slot != 0)
		return ST_OK;
	while (t->slot < TIMERS_MAX && l->timer[t->slot] != NULL)
		t->slot++;
	MUST(t->slot < TIMERS_MAX);
	l->timer[t->slot++] = t;
	return ST_OK;
}

void
timer_cancel(struct loop *l, struct timer *t)
{
	if (t->slot == 0)
		return;
	l->timer[t->slot - 1] = NULL;
	t->slot = 0;
}

uint64_t
loop_now_us(const struct loop *l)
{
	return l->now_us;
}

/* What epoll would say, level-triggered. */
static uint32_t
ready(const struct sim_conn *c)
{
	uint32_t events = 0;

	if (c->left)
		events |= EPOLLHUP | EPOLLRDHUP | EPOLLIN;
	if (c->sends_abort)
		events |= EPOLLIN;
	if (c->budget != 0)
		events |= EPOLLOUT;
	return events;
}

enum status
loop_turn(struct loop *l, uint64_t max_wait_us)
{
	unsigned n;

	(void)max_wait_us;
	for (n = 0; n < SIM_CONNS; n++) {
		struct watch *w = l->at[n].watch;
		uint32_t events = ready(&conns[n]) &
		    (l->at[n].events | EPOLLHUP);

		if (w != NULL && events != 0)
			w->fn(w, events);
	}
	for (n = 0; n < TIMERS_MAX; n++) {
		struct timer *t = l->timer[n];

		if (t == NULL || t->due_us > l->now_us)
			continue;
		timer_cancel(l, t);
		t->fn(t, l->now_us);
	}
	return ST_OK;
}

void
sim_pass(uint64_t us)
{
	the_loop.now_us += us;
}

/* ---- the web server's end ---------------------------------------------- */

int
sim_open(unsigned n, bool cgi)
{
	struct sim_conn *c = &conns[n];
	struct buf text = c->text;

	MUST(n < SIM_CONNS && !c->is_open);
	if (text.max == 0)
		buf_init(&text, TEXT_MAX);
	buf_clear(&text);
	*c = (struct sim_conn){.is_open = true,
	    .cgi = cgi,
	    .budget = SIM_NO_LIMIT,
	    .text = text};
	return FIRST_FD + (int)n;
}

struct sim_conn *
sim_conn(unsigned n)
{
	return &conns[n];
}

/* A header is complete: is it one that may come here? */
static void
take_header(struct sim_conn *c)
{
	struct record_header h = record_decode(
	    span_of(c->head, RECORD_HEADER_BYTES));

	c->n_head = 0;
	c->rest = h.content_len;
	MUST(!c->end_request);
	MUST(h.version == 1 && h.request_id == 1 && h.padding_len == 0);
	if (h.type == RECORD_END_REQUEST) {
		MUST(c->empty_stdout && c->rest == 8);
		c->end_request = true;
		return;
	}
	MUST(h.type == RECORD_STDOUT && !c->empty_stdout);
	c->empty_stdout = c->rest == 0;
}

static void
take_records(struct sim_conn *c, struct span s)
{
	while (s.len > 0) {
		size_t part = s.len < c->rest ? s.len : c->rest;

		if (part == 0) {
			c->head[c->n_head++] = s.p[0];
			s = span_skip(s, 1);
			if (c->n_head == RECORD_HEADER_BYTES)
				take_header(c);
			continue;
		}
		if (!c->end_request)
			MUST(buf_append(&c->text, span_of(s.p, part)) == ST_OK);
		c->rest -= part;
		s = span_skip(s, part);
	}
}

static struct sim_conn *
conn_of(int fd)
{
	struct sim_conn *c;

	if (fd < FIRST_FD || fd >= FIRST_FD + SIM_CONNS)
		return NULL;
	c = &conns[fd - FIRST_FD];
	MUST(c->is_open);
	return c;
}

static ssize_t
refused(int error)
{
	errno = error;
	return -1;
}

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	struct sim_conn *c = conn_of(fd);

	if (c == NULL)
		return __real_write(fd, p, n);
	MUST(n > 0);
	if (c->left)
		return refused(EPIPE);
	if (c->budget == 0)
		return refused(EAGAIN);
	if (c->budget > 0 && n > (size_t)c->budget)
		n = (size_t)c->budget;
	if (c->budget > 0)
		c->budget -= (int64_t)n;
	if (c->cgi)
		MUST(buf_append(&c->text, span_of(p, n)) == ST_OK);
	else
		take_records(c, span_of(p, n));
	return (ssize_t)n;
}

ssize_t
__wrap_read(int fd, void *p, size_t n)
{
	struct sim_conn *c = conn_of(fd);

	if (c == NULL)
		return __real_read(fd, p, n);
	if (c->left)
		return 0;
	if (!c->sends_abort)
		return refused(EAGAIN);
	MUST(n >= RECORD_HEADER_BYTES);
	c->sends_abort = false;
	record_encode(p, RECORD_ABORT_REQUEST, 1, 0);
	return RECORD_HEADER_BYTES;
}

int
__wrap_close(int fd)
{
	struct sim_conn *c = conn_of(fd);

	if (c == NULL)
		return __real_close(fd);
	c->is_open = false;
	return 0;
}
