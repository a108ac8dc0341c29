/* SPDX-License-Identifier: MIT */
/* Which form is wanted, by the headers that real programs send. */
#include "form.h"

#include "unit.h"

#define CHROME                                                                 \
	"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"    \
	"image/webp,image/apng,*/*;q=0.8,"                                     \
	"application/signed-exchange;v=b3;q=0.7"
#define PROMETHEUS                                                             \
	"application/openmetrics-text;version=1.0.0,"                          \
	"application/openmetrics-text;version=0.0.1;q=0.75,"                   \
	"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

static void
want(const char *query, const char *accept, enum form form)
{
	enum form got = form_wanted(span_str(query), span_str(accept));

	if (got != form)
		fail_msg("\"%s\" \"%s\": form %d, expected %d", query,
		    accept == NULL ? "" : accept, (int)got, (int)form);
}

static void
the_accept_header_decides(void **state)
{
	(void)state;
	want("", NULL, FORM_TEXT);
	want("", "", FORM_TEXT);
	want("", "*/*", FORM_TEXT);
	want("", CHROME, FORM_HTML);
	want("", PROMETHEUS, FORM_OPENMETRICS);
	want("", "text/plain;version=0.0.4;q=1,*/*;q=0.1", FORM_TEXT);
	want("", "application/json", FORM_JSON);
	want("", "application/json, text/plain, */*", FORM_JSON);
	want("", "image/png", FORM_TEXT);
	want("", "text/event-stream", FORM_TEXT);
}

static void
weights_decide_and_names_go_before_asterisks(void **state)
{
	(void)state;
	want("", "text/html;q=0.1,*/*;q=0.9", FORM_TEXT);
	want("", "text/html;q=0.9,*/*;q=0.9", FORM_HTML);
	want("", "*/*;q=0.9,text/html;q=0.9", FORM_HTML);
	want("", "text/html;q=0", FORM_TEXT);
	want("", "text/html;q=0.000, application/json;q=0.001", FORM_JSON);
	want("", "text/html;q=0.5,application/json;q=0.501", FORM_JSON);
	want("", "text/html;q=0.5,application/json;q=0.5", FORM_HTML);
	want("", "text/plain,text/html", FORM_TEXT);
	want("", "text/html;level=1;q=0.2,text/*;q=0.3", FORM_TEXT);
	want("", "TEXT/HTML ; q=1.000", FORM_HTML);
}

static void
what_is_malformed_is_as_if_it_were_not_there(void **state)
{
	(void)state;
	want("", ",,;;=,q=,/", FORM_TEXT);
	want("", "text/html;q=x", FORM_HTML);
	want("", "text/html;q=", FORM_TEXT);
	want("", "text/html;q=99999999999999999999", FORM_HTML);
	want("", "text/html;q=0.99999999999,application/json", FORM_JSON);
	want("", "text", FORM_TEXT);
}

static void
the_query_goes_before_the_header(void **state)
{
	(void)state;
	want("format=json", CHROME, FORM_JSON);
	want("format=html", "*/*", FORM_HTML);
	want("format=prometheus", CHROME, FORM_TEXT);
	want("format=openmetrics", NULL, FORM_OPENMETRICS);
	want("format=", CHROME, FORM_TEXT);
	want("a=b&format=json&c", NULL, FORM_JSON);
	want("format=json&format=html", NULL, FORM_HTML);
	want("format=xml", NULL, FORM_NO_FORMAT);
	want("other=1", CHROME, FORM_HTML);
}

static void
a_channel_is_a_stream_if_it_is_ours(void **state)
{
	(void)state;
	want("channel=system.status", "text/event-stream", FORM_STREAM);
	want("format=json&channel=system.status", NULL, FORM_STREAM);
	want("channel=orders", "text/event-stream", FORM_NO_CHANNEL);
	want("channel=", NULL, FORM_NO_CHANNEL);
	want("channel=*", NULL, FORM_NO_CHANNEL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_accept_header_decides),
	    cmocka_unit_test(weights_decide_and_names_go_before_asterisks),
	    cmocka_unit_test(what_is_malformed_is_as_if_it_were_not_there),
	    cmocka_unit_test(the_query_goes_before_the_header),
	    cmocka_unit_test(a_channel_is_a_stream_if_it_is_ours),
	};

	return RUN(tests);
}
