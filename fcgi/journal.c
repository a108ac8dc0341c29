/* SPDX-License-Identifier: MIT */
/* Lines about streams.  The gates are the process's, as the log is. */
#include "journal.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "name.h"

#define CHANNELS_BYTES  256 /* of the list that a stream asked for */
#define STREAM_ID_BYTES 16

enum kind {
	OPEN,
	RESUME,
	GAP,
	LAGGING,
	CLOSE,
	REJECT,
	REFUSE,
	DISPATCH,
	KINDS
};

static struct log_gate gates[KINDS];

struct id {
	char text[STREAM_ID_BYTES + 1];
};

static bool
wanted(enum kind kind, enum log_level level, uint64_t now_us)
{
	return log_wants(level) && log_gate(&gates[kind], now_us);
}

static struct span
show(struct id *out, uint64_t stream)
{
	(void)snprintf(out->text, sizeof(out->text), "%016llx",
	    (unsigned long long)stream);
	return span_of(out->text, STREAM_ID_BYTES);
}

/* The patterns as they were asked for, by comma; cut when there are many. */
static struct span
channels_of(const struct request *r, char *out)
{
	size_t i, len = 0;

	for (i = 0; i < r->n_channels; i++) {
		struct span c = r->channel[i];

		if (c.len + 1 > CHANNELS_BYTES - len)
			break;
		if (i > 0)
			out[len++] = ',';
		memcpy(out + len, c.p, c.len);
		len += c.len;
	}
	return span_of(out, len);
}

static struct span
trace_of(struct span text)
{
	return name_trace_ok(text) ? text : SPAN_NONE;
}

/* A client's id is shown when it is a number. */
static struct log_field
number_of(const char *name, struct span id)
{
	int64_t n;

	return span_to_int64(id, &n) ? LOG_INT(name, n)
				     : LOG_STR(name, SPAN_NONE);
}

void
journal_open(const struct journal_opening *o, uint64_t now_us)
{
	bool resumes = o->req->resumes;
	char channels[CHANNELS_BYTES];
	struct id id = {""};

	if (!wanted(resumes ? RESUME : OPEN, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, resumes ? "stream.resume" : "stream.open",
	    LOG_STR("stream", show(&id, o->stream)),
	    LOG_STR("remote", o->req->remote),
	    LOG_STR("channel", channels_of(o->req, channels)),
	    LOG_INT("from", o->from),
	    number_of("resumed_from", resumes ? o->req->requested : SPAN_NONE),
	    LOG_STR("result",
		!resumes          ? SPAN_NONE
		    : o->with_gap ? SPAN("gap")
				  : SPAN("ok")),
	    LOG_STR("front", span_str(request_front_name(o->front))),
	    LOG_STR("trace", trace_of(o->trace)));
}

void
journal_gap(uint64_t stream, const struct frame_gap *g, uint64_t now_us)
{
	struct id id = {""};

	if (!wanted(GAP, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.gap", LOG_STR("stream", show(&id, stream)),
	    LOG_STR("code", span_str(frame_gap_name(g->code))),
	    number_of("requested", g->requested), LOG_INT("lost", g->lost));
}

void
journal_lagging(uint64_t stream, int64_t lag, uint64_t behind_us,
    uint64_t now_us)
{
	struct id id = {""};

	if (!wanted(LAGGING, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.lagging",
	    LOG_STR("stream", show(&id, stream)), LOG_INT("lag", lag),
	    LOG_INT("behind_ms", behind_us / 1000));
}

const char *
journal_end_name(enum stream_end why)
{
	if (why == STREAM_LEFT)
		return "left";
	if (why == STREAM_BROKEN)
		return "broken";
	return frame_reason_name((enum frame_reason)why);
}

void
journal_close(const struct stream *s, enum stream_end why, int64_t position,
    uint64_t now_us)
{
	struct id id = {""};

	if (!wanted(CLOSE, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.close",
	    LOG_STR("stream", show(&id, s->id)),
	    LOG_STR("reason", span_str(journal_end_name(why))),
	    LOG_INT("duration_ms", (uint32_t)(now_us / 1000) - s->opened_ms),
	    LOG_INT("position", position));
}

void
journal_reject(uint64_t stream, const struct request *req, enum front front,
    const char *reason, uint64_t now_us)
{
	char channels[CHANNELS_BYTES];
	struct id id = {""};

	if (!wanted(REJECT, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.reject",
	    LOG_STR("reason", span_str(reason)),
	    LOG_STR("stream", show(&id, stream)),
	    LOG_STR("remote", req->remote),
	    LOG_STR("channel", channels_of(req, channels)),
	    LOG_STR("front", span_str(request_front_name(front))));
}

void
journal_refuse(const struct request *req, enum front front, uint64_t now_us)
{
	if (!wanted(REFUSE, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.refuse",
	    LOG_INT("status", req->error.status),
	    LOG_STR("remote", req->remote),
	    LOG_STR("front", span_str(request_front_name(front))));
}

void
journal_dispatch(const struct traced *t, uint64_t now_us)
{
	if (!wanted(DISPATCH, LOG_DEBUG_, now_us))
		return;
	LOG_EVENT(LOG_DEBUG_, "event.dispatch", LOG_INT("id", t->id),
	    LOG_STR("channel", t->channel), LOG_STR("type", t->type),
	    LOG_STR("trace", trace_of(t->trace)),
	    LOG_INT("streams", t->n_streams), LOG_INT("bytes", t->n_bytes));
}
