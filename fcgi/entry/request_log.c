/* SPDX-License-Identifier: MIT */
/* Lines about requests.  The rate limits are the process's, as the log is. */
#include "request_log.h"

#include <string.h>

#include "log.h"
#include "stream_log.h"

#define CHANNELS_BYTES 256 /* of the list that a stream asked for */

enum request_log_kind { OPEN, RESUME, REJECT, REFUSE, DENY, KINDS };

static struct log_gate request_log_gates[KINDS];

static bool
request_log_wants(enum request_log_kind kind, uint64_t now_us)
{
	return log_wants(LOG_INFO_) &&
	    log_gate(&request_log_gates[kind], now_us);
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

void
request_log_open(const struct request_log_opening *o, uint64_t now_us)
{
	bool resumes = o->req->resumes;
	char channels[CHANNELS_BYTES];
	struct stream_log_id id = {""};

	if (!request_log_wants(resumes ? RESUME : OPEN, now_us))
		return;
	LOG_EVENT(LOG_INFO_, resumes ? "stream.resume" : "stream.open",
	    LOG_STR("stream", stream_log_id(&id, o->stream)),
	    LOG_STR("remote", o->req->remote),
	    LOG_STR("channel", channels_of(o->req, channels)),
	    LOG_INT("from", o->from),
	    stream_log_number("resumed_from",
		resumes ? o->req->requested : SPAN_NONE),
	    LOG_STR("result",
		!resumes          ? SPAN_NONE
		    : o->with_gap ? SPAN("gap")
				  : SPAN("ok")),
	    LOG_STR("front", span_str(frontend_name(o->front))),
	    LOG_STR("trace", stream_log_trace(o->trace)));
}

void
request_log_reject(uint64_t stream, const struct request *req, enum front front,
    const char *reason, uint64_t now_us)
{
	char channels[CHANNELS_BYTES];
	struct stream_log_id id = {""};

	if (!request_log_wants(REJECT, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.reject",
	    LOG_STR("reason", span_str(reason)),
	    LOG_STR("stream", stream_log_id(&id, stream)),
	    LOG_STR("remote", req->remote),
	    LOG_STR("channel", channels_of(req, channels)),
	    LOG_STR("front", span_str(frontend_name(front))));
}

void
request_log_refuse(const struct request *req, enum front front, uint64_t now_us)
{
	if (!request_log_wants(REFUSE, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.refuse",
	    LOG_INT("status", req->error.status),
	    LOG_STR("remote", req->remote),
	    LOG_STR("front", span_str(frontend_name(front))));
}

void
request_log_denied(const struct request_log_denial *d, uint64_t now_us)
{
	struct stream_log_id id = {""};

	if (!request_log_wants(DENY, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.deny", LOG_INT("status", d->status),
	    LOG_STR("stream", stream_log_id(&id, d->stream)),
	    LOG_STR("remote", d->req->remote), LOG_STR("channel", d->channel),
	    LOG_STR("why", d->why),
	    LOG_STR("front", span_str(frontend_name(d->front))));
}
