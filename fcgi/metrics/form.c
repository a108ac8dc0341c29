/* SPDX-License-Identifier: MIT */
/* In which form the metrics are wanted.  Pure. */
#include "form.h"

#include <stdbool.h>
#include <stddef.h>

#include "query.h"

/* What can be asked for by name, and by type. */
static const struct {
	const char *name, *type;
	enum form form;
} forms[] = {
    {"prometheus", "text/plain", FORM_TEXT},
    {"openmetrics", "application/openmetrics-text", FORM_OPENMETRICS},
    {"json", "application/json", FORM_JSON},
    {"html", "text/html", FORM_HTML},
};

#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

static enum form
form_named(struct span name)
{
	size_t i;

	for (i = 0; i < N_FORMS; i++)
		if (span_eq(name, span_str(forms[i].name)))
			return forms[i].form;
	return name.len == 0 ? FORM_TEXT : FORM_NO_FORMAT;
}

/* Thousandths; what is malformed weighs as if it were not there. */
static int
weight_of(struct span parameters)
{
	struct span piece, name;
	int weight = 0, unit = 1000;
	size_t i;

	while (span_cut(&parameters, ';', &piece)) {
		if (!span_cut(&piece, '=', &name) ||
		    !span_caseeq(span_trim(name), SPAN("q")))
			continue;
		piece = span_trim(piece);
		for (i = 0; i < piece.len && unit > 0; i++) {
			if (i == 1 && piece.p[i] == '.')
				continue;
			if (piece.p[i] < '0' || piece.p[i] > '9')
				return 1000;
			weight += unit * (piece.p[i] - '0');
			unit /= 10;
		}
		return weight > 1000 ? 1000 : weight;
	}
	return 1000;
}

/* Does this range name one of ours, or stand for text (*named false)? */
static bool
find_type(struct span type, enum form *form, bool *named)
{
	size_t i;

	*named = true;
	for (i = 0; i < N_FORMS; i++) {
		if (!span_caseeq(type, span_str(forms[i].type)))
			continue;
		*form = forms[i].form;
		return true;
	}
	*named = false;
	*form = FORM_TEXT;
	return span_eq(type, SPAN("*/*")) || span_eq(type, SPAN("text/*"));
}

/*
 * The type of the greatest weight, the first of several; one that is named
 * goes before a range with an asterisk of the same weight.
 */
static enum form
form_accepted(struct span accept)
{
	enum form form, best_form = FORM_TEXT;
	struct span element, type;
	bool named, best_named = true;
	int weight, best = 0;

	while (span_cut(&accept, ',', &element)) {
		(void)span_cut(&element, ';', &type);
		if (!find_type(span_trim(type), &form, &named))
			continue;
		weight = weight_of(element);
		if (weight < best || weight == 0 ||
		    (weight == best && (best_named || !named)))
			continue;
		best = weight;
		best_form = form;
		best_named = named;
	}
	return best_form;
}

enum form
form_wanted(struct span query, struct span accept)
{
	enum form form = form_accepted(accept);
	struct query_pair pair;

	while (query_next(&query, &pair)) {
		if (span_eq(pair.name, SPAN("channel")))
			return span_eq(pair.value, SPAN(FORM_CHANNEL))
			    ? FORM_STREAM
			    : FORM_NO_CHANNEL;
		if (span_eq(pair.name, SPAN("format")))
			form = form_named(pair.value);
	}
	return form;
}
