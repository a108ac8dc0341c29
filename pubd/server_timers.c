/* SPDX-License-Identifier: MIT */
/*
 * What pubd does by the clock: it looks for what others wrote by SQL, writes
 * its row of the status table, and tells systemd that it is well.
 */
#include "server_private.h"

#include "clock.h"
#include "notify.h"
#include "proc.h"
#include "pubd_metrics.h"

#define LOOK_US      15000 /* for SQL writers, while somebody watches */
#define LOOK_IDLE_US 250000

/* A program's own timers can always be set. */
static void
arm(struct server *s, struct timer *t, uint64_t due_us)
{
	status_ignore(timer_set(s->loop, t, due_us));
}

static void
on_look(struct timer *t, uint64_t now_us)
{
	struct server *s = OWNER_OF(t, struct server, look);

	log_writer_look(s->log_writer, now_us);
	arm(s, t, now_us + (s->watchers.n > 0 ? LOOK_US : LOOK_IDLE_US));
}

void
server_look_sooner(struct server *s)
{
	uint64_t due_us = loop_now_us(s->loop) + LOOK_US;

	if (s->watchers.n > 0 && s->look.due_us > due_us)
		arm(s, &s->look, due_us);
}

void
server_take_metrics(struct server *s)
{
	struct pubd_metrics g = {.conf = s->conf,
	    .listeners = &s->listeners,
	    .conns = &s->conns,
	    .log_writer = s->log_writer,
	    .retain = &s->retain,
	    .watchers = &s->watchers,
	    .exporter = s->exporter};

	/* Once all files are open, and once only: it takes its time. */
	if (s->n_own_fds == 0 && s->status_writer.db != NULL)
		s->n_own_fds = proc_count_fds() - s->conns.n;
	g.n_own_fds = s->n_own_fds;
	pubd_metrics_take(&g, &s->status_writer.metrics);
	requests_gauges(&s->requests, &s->status_writer.metrics);
	metrics_set(&s->status_writer.metrics, METRIC_PING_AGE,
	    (loop_now_us(s->loop) - s->pulse.good_us) / 1000);
	s->status_writer.log = *log_writer_seen(s->log_writer);
}

static void
on_status_due(struct timer *t, uint64_t now_us)
{
	struct server *s = OWNER_OF(t, struct server, status_timer);

	trust_look(&s->rights.trust, s->conf->database);
	server_take_metrics(s);
	status_writer_write(&s->status_writer, now_us, clock_real_ms());
	exporter_tell(s->exporter, now_us);
	pulse_ask(&s->pulse, now_us);
	arm(s, t, now_us + STATUS_WRITER_US);
}

static void
on_watchdog(struct timer *t, uint64_t now_us)
{
	struct server *s = OWNER_OF(t, struct server, watchdog);
	uint64_t max_us = s->watchdog_us < PULSE_LEAST_US ? PULSE_LEAST_US
							  : s->watchdog_us;

	/*
	 * That this timer runs proves nothing: publishers must be getting
	 * answers.
	 */
	if (now_us - s->pulse.answered_us > max_us) {
		arm(s, t, now_us + STATUS_WRITER_US);
		return;
	}
	notify_send("WATCHDOG=1");
	arm(s, t, now_us + s->watchdog_us);
}

void
server_start_timers(struct server *s)
{
	uint64_t now_us = clock_mono_us();

	s->look.fn = on_look;
	s->status_timer.fn = on_status_due;
	s->watchdog.fn = on_watchdog;
	arm(s, &s->look, now_us + LOOK_US);
	arm(s, &s->status_timer, now_us);
	s->watchdog_us = notify_watchdog_us();
	if (s->watchdog_us > 0)
		arm(s, &s->watchdog, now_us + s->watchdog_us);
}
