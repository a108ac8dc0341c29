/* SPDX-License-Identifier: MIT */
/* Reports of a process about itself, over a watch connection. */
#include "own_metrics.h"

#include <stdlib.h>

#include "buf.h"
#include "clock.h"
#include "log.h"
#include "proc.h"
#include "pubd_link.h"
#include "wire.h"

#define REPORT_US    1000000
#define LAST_WAIT_MS 200

struct own_metrics {
	struct own_metrics_options options;
	struct loop *loop;
	struct pubd_link *link;
	struct timer timer;
	int64_t started_ms;
	struct metrics metrics;
};

static void
self_fill(struct own_metrics *s)
{
	proc_metrics(&s->metrics, proc_count_fds(), proc_fds_limit());
	s->options.fill(s->options.arg, &s->metrics);
}

static void
self_report(struct own_metrics *s, bool last)
{
	/* It holds no streams and has no place in the log. */
	struct wire_report r = {.role = span_str(s->options.role),
	    .started_ms = s->started_ms,
	    .metrics = &s->metrics};
	struct buf b;

	self_fill(s);
	proc_report(&r);
	buf_init(&b, WIRE_MAX_REPORT);
	if (wire_put_report(&b, &r) != ST_OK)
		log_warnx("a report did not get the memory that it needs");
	else if (last)
		pubd_link_send_last(s->link, buf_span(&b), LAST_WAIT_MS);
	else
		pubd_link_send(s->link, buf_span(&b));
	buf_fini(&b);
}

static void
self_on_timer(struct timer *t, uint64_t now_us)
{
	struct own_metrics *s = OWNER_OF(t, struct own_metrics, timer);

	status_ignore(timer_set(s->loop, t, now_us + REPORT_US));
	self_report(s, false);
}

enum status
own_metrics_new(struct own_metrics **out, struct loop *l,
    const struct own_metrics_options *o)
{
	/* This process does not need to hear of commits. */
	const struct pubd_link_options link = {.socket = o->socket,
	    .role = o->role,
	    .woken = NULL};
	struct own_metrics *s = calloc(1, sizeof(*s));
	enum status st;

	if (s == NULL)
		return ST_NOMEM;
	s->options = *o;
	s->loop = l;
	s->timer.fn = self_on_timer;
	s->started_ms = clock_real_ms();
	st = pubd_link_new(&s->link, l, &link);
	if (st == ST_OK)
		st = timer_set(l, &s->timer, loop_now_us(l));
	if (st != ST_OK) {
		pubd_link_free(&s->link);
		free(s);
		return st;
	}
	*out = s;
	return ST_OK;
}

void
own_metrics_free(struct own_metrics **sp)
{
	struct own_metrics *s = *sp;

	if (s == NULL)
		return;
	self_report(s, true);
	timer_cancel(s->loop, &s->timer);
	pubd_link_free(&s->link);
	free(s);
	*sp = NULL;
}
