/* SPDX-License-Identifier: MIT */
/*
 * What those who are connected may do: publish to which channels and how much
 * of it, report and watch as a process of ours, revoke.  The rules are those
 * of access.conf(5); while `access` is not set everybody may publish and
 * listen.  publish_rate bounds each user besides.
 *
 * What the rules say of a channel is kept with the identity that asked, for
 * its latest channels, until the rules are read again.
 * Blocks on files only where they are read: rights_open, rights_reload.
 */
#ifndef WALCAST_RIGHTS_H
#define WALCAST_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access_file.h"
#include "rates.h"
#include "span.h"
#include "status.h"
#include "trust.h"

struct conf;
struct identity;
struct protocol_event;

struct rights {
	const struct conf *conf;
	struct access_file access;
	struct trust trust;
	struct rates rates;
};

/*
 * conf   outlives it
 * Returns  ST_OK, or what access_file_open says
 */
MUST_USE enum status rights_open(struct rights *r, const struct conf *conf,
    struct errmsg *err);
void rights_close(struct rights *r);

/* Tells the log what is odd in the rules, or that there are none. */
void rights_tell(struct rights *r);

/* The configuration has changed; reads the rules again, and tells the log. */
void rights_reload(struct rights *r);

/* ---- publishing --------------------------------------------------------- */

#define RIGHTS_MAX_LINES 64 /* with a rate, that pay for one request */

struct rights_payment {
	struct rates_key from;
	uint64_t n_events;
};

/* What a request has paid; and why one may not be stored. */
struct rights_bill {
	struct rights_payment payment[RIGHTS_MAX_LINES + 1];
	size_t n;
	size_t n_judged;  /* channels that were not known before */
	size_t cost;      /* of judging them, in about microseconds */
	size_t index;     /* ST_DENIED: of the event */
	size_t n_events;  /* ST_BUSY, ST_TOOLARGE: so many at once ... */
	unsigned line;    /* ... by this line; 0: by publish_rate */
	uint64_t wait_us; /* ST_BUSY */
};

/*
 * May they publish all of it, now?  Takes the tokens for it.
 *
 * Returns  ST_OK        they are taken: see rights_refund
 *          ST_DENIED    no line allows event `index`
 *          ST_BUSY      not now
 *          ST_TOOLARGE  never so much at once
 */
MUST_USE enum status rights_publish(struct rights *r, struct identity *id,
    const struct protocol_event *ev, size_t n, uint64_t now_us,
    struct rights_bill *bill);

/* It was not taken after all: the tokens go back.  Once more is no error. */
void rights_refund(struct rights *r, struct rights_bill *bill);

/* ---- anything else ------------------------------------------------------ */

/* May they send reports, and watch as a process of ours does? */
bool rights_report(const struct rights *r, const struct identity *id);

/* May they listen for commits? */
bool rights_listen(const struct rights *r, const struct identity *id);

/* May they revoke what was given to visitors? */
bool rights_revoke(const struct rights *r, const struct identity *id);

/*
 * Which lines could have allowed it, and why they did not, for the log; cut to
 * fit.  Empty: there are no such lines, or no rules.
 */
struct rights_why {
	char text[384];
	size_t len;
};
void rights_explain(const struct rights *r, const struct identity *id,
    struct span channel, struct rights_why *why);

#endif
