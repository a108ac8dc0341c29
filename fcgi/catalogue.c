/* SPDX-License-Identifier: MIT */
/* The catalogue as a table: a line for each family, its labels' values. */
#include "catalogue.h"

#include "figures.h"

/* A bar would end the cell. */
static enum status
put_label(struct buf *out, const struct figure *family, size_t i)
{
	const char *separator = " ";
	enum status st;

	if (family->label == NULL)
		return ST_OK;
	st = buf_printf(out, "`%s`:", family->label);
	for (; i < figures_catalogue_n; i++) {
		const struct figure *e = &figures_catalogue[i];

		if (e->source == FIGURE_FAMILY || st != ST_OK)
			break;
		if (e->source == FIGURE_HIDDEN)
			continue;
		if (e->value == NULL)
			return buf_append(out, SPAN(" any"));
		st = buf_printf(out, "%s`%s`", separator, e->value);
		separator = ", ";
	}
	return st;
}

static enum status
put_family(struct buf *out, size_t i)
{
	const struct figure *e = &figures_catalogue[i];
	enum status st;

	st = buf_printf(out, "| `%s` | %s | %s | ", e->name,
	    figures_type_name(e->type), e->unit);
	if (st == ST_OK)
		st = put_label(out, e, i + 1);
	return st == ST_OK ? buf_printf(out, " | %s |\n", e->sentence) : st;
}

enum status
catalogue_put(struct buf *out)
{
	enum status st;
	size_t i;

	st = buf_append(out,
	    SPAN("| name | type | unit | label | what it tells |\n"
		 "|---|---|---|---|---|\n"));
	for (i = 0; st == ST_OK && i < figures_catalogue_n; i++)
		if (figures_catalogue[i].source == FIGURE_FAMILY)
			st = put_family(out, i);
	return st;
}
