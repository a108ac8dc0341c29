/* SPDX-License-Identifier: MIT */
/* A process's report. */
#include "report.h"

#include <unistd.h>

#include "jsontext.h"
#include "log.h"

static enum status
put_head(const struct report *r, struct buf *out)
{
	return buf_printf(out,
	    "{\"op\":\"report\",\"name\":\"%s-%ld-%lld\",\"role\":\"%s\","
	    "\"pid\":%ld,\"version\":\"" WALCAST_VERSION "\","
	    "\"started_ms\":%lld,\"head\":%lld,\"cursor\":%lld,"
	    "\"streams\":%zu",
	    r->role, (long)getpid(), (long long)r->started_ms, r->role,
	    (long)getpid(), (long long)r->started_ms, (long long)r->head,
	    (long long)r->cursor, r->n_streams);
}

static enum status
put_error(struct buf *out)
{
	const struct log_last *last = log_last_error();
	enum status st;

	if (last->ts_ms <= 0)
		return ST_OK;
	st = buf_printf(out,
	    ",\"error_ms\":%lld,\"error\":", (long long)last->ts_ms);
	return st == ST_OK ? jsontext_quote(out, span_str(last->text)) : st;
}

enum status
report_line(const struct report *r, struct buf *out)
{
	enum status st = put_head(r, out);

	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"counters\":"));
	if (st == ST_OK)
		st = figures_write(r->figures, FIGURES_COUNTERS, out);
	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"gauges\":"));
	if (st == ST_OK)
		st = figures_write(r->figures, FIGURES_GAUGES, out);
	if (st == ST_OK)
		st = put_error(out);
	return st == ST_OK ? buf_append(out, SPAN("}")) : st;
}
