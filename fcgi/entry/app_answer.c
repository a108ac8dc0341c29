/* SPDX-License-Identifier: MIT */
/* The head of an application's answer.  Pure. */
#include "app_answer.h"

#include "name.h"
#include "utf8.h"

#define MAX_AGE_S 86400 /* longer is not believed */

static bool
read_status(struct span value, struct app_answer *a)
{
	struct span code;
	int64_t n;

	if (!span_cut(&value, ' ', &code) || !span_to_int64(code, &n) ||
	    n < 100 || n > 999 || a->status != 0)
		return false;
	a->status = (int)n;
	return true;
}

/* Names by commas or spaces; one that is none spoils the answer. */
static bool
read_channels(struct span value, struct app_answer *a)
{
	struct span item, name;

	while (span_cut(&value, ',', &item))
		while (span_cut(&item, ' ', &name)) {
			if (name.len == 0)
				continue;
			if (!name_pattern_ok(name) ||
			    a->n_channels == APP_CHANNELS_MAX)
				return false;
			a->channel[a->n_channels++] = name;
		}
	return true;
}

static bool
read_user(struct span value, struct app_answer *a)
{
	if (value.len > APP_USER_MAX || !utf8_ok(value) ||
	    name_has_control(value) || a->user.len > 0)
		return false;
	a->user = value;
	return true;
}

static bool
read_age(struct span value, struct app_answer *a)
{
	if (!span_to_int64(value, &a->max_age_s))
		return false;
	if (a->max_age_s > MAX_AGE_S)
		a->max_age_s = MAX_AGE_S;
	return true;
}

static const struct app_header {
	const char *name;
	bool (*read)(struct span value, struct app_answer *a);
} app_headers[] = {
    {"Status", read_status},
    {"X-Walcast-Channels", read_channels},
    {"X-Walcast-User", read_user},
    {"X-Walcast-Max-Age", read_age},
};

static bool
read_line(struct span line, struct app_answer *a)
{
	struct span name, value = line;
	size_t i;

	if (!span_cut(&value, ':', &name) || name.len == line.len ||
	    name.len == 0)
		return false;
	for (i = 0; i < sizeof(app_headers) / sizeof(app_headers[0]); i++)
		if (span_caseeq(name, span_str(app_headers[i].name)))
			return app_headers[i].read(span_trim(value), a);
	return true;
}

enum status
app_answer_read(struct span head, struct app_answer *out)
{
	struct span line;

	*out = (struct app_answer){.user = SPAN(""), .max_age_s = -1};
	while (span_cut(&head, '\n', &line)) {
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len > 0 && !read_line(line, out))
			return ST_INVALID;
	}
	if (out->status == 0)
		out->status = 200;
	return ST_OK;
}
