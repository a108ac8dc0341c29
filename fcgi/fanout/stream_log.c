/* SPDX-License-Identifier: MIT */
/* Lines about streams.  The rate limits are the process's, as the log is. */
#include "stream_log.h"

#include <stdio.h>

#include "name.h"

enum stream_log_kind { GAP, LAGGING, CLOSE, DISPATCH, KINDS };

static struct log_gate stream_log_gates[KINDS];

static bool
stream_log_wants(enum stream_log_kind kind, enum log_level level,
    uint64_t now_us)
{
	return log_wants(level) && log_gate(&stream_log_gates[kind], now_us);
}

struct span
stream_log_id(struct stream_log_id *out, uint64_t stream)
{
	(void)snprintf(out->text, sizeof(out->text), "%016llx",
	    (unsigned long long)stream);
	return span_of(out->text, STREAM_LOG_ID_BYTES);
}

struct log_field
stream_log_number(const char *name, struct span id)
{
	int64_t n;

	return span_to_int64(id, &n) ? LOG_INT(name, n)
				     : LOG_STR(name, SPAN_NONE);
}

struct span
stream_log_trace(struct span text)
{
	return name_trace_ok(text) ? text : SPAN_NONE;
}

void
stream_log_gap(uint64_t stream, const struct frame_gap *g, uint64_t now_us)
{
	struct stream_log_id id = {""};

	if (!stream_log_wants(GAP, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.gap",
	    LOG_STR("stream", stream_log_id(&id, stream)),
	    LOG_STR("code", span_str(frame_gap_name(g->code))),
	    stream_log_number("requested", g->requested),
	    LOG_INT("lost", g->lost));
}

void
stream_log_lagging(uint64_t stream, int64_t lag, uint64_t behind_us,
    uint64_t now_us)
{
	struct stream_log_id id = {""};

	if (!stream_log_wants(LAGGING, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.lagging",
	    LOG_STR("stream", stream_log_id(&id, stream)), LOG_INT("lag", lag),
	    LOG_INT("behind_ms", behind_us / 1000));
}

const char *
stream_log_end_name(enum stream_end why)
{
	static const char *const names[STREAM_ENDS] = {
#define X(member, word) [STREAM_##member] = (word),
	    STREAM_END_LIST(X)
#undef X
	};

	return names[why];
}

void
stream_log_close(const struct stream *s, enum stream_end why, int64_t position,
    uint64_t now_us)
{
	struct stream_log_id id = {""};

	if (!stream_log_wants(CLOSE, LOG_INFO_, now_us))
		return;
	LOG_EVENT(LOG_INFO_, "stream.close",
	    LOG_STR("stream", stream_log_id(&id, s->id)),
	    LOG_STR("reason", span_str(stream_log_end_name(why))),
	    LOG_INT("duration_ms", (uint32_t)(now_us / 1000) - s->opened_ms),
	    LOG_INT("position", position));
}

void
stream_log_dispatch(const struct traced *t, uint64_t now_us)
{
	if (!stream_log_wants(DISPATCH, LOG_DEBUG_, now_us))
		return;
	LOG_EVENT(LOG_DEBUG_, "event.dispatch", LOG_INT("id", t->id),
	    LOG_STR("channel", t->channel), LOG_STR("type", t->type),
	    LOG_STR("trace", stream_log_trace(t->trace)),
	    LOG_INT("streams", t->n_streams), LOG_INT("bytes", t->n_bytes));
}
