/* SPDX-License-Identifier: MIT */
/* The catalogue of figures as the table of docs/METRICS.md.  Pure. */
#ifndef WALCAST_CATALOGUE_H
#define WALCAST_CATALOGUE_H

#include "buf.h"
#include "status.h"

/* Appends it as Markdown.  Returns ST_OK, ST_NOMEM or ST_FULL. */
MUST_USE enum status catalogue_put(struct buf *out);

#endif
