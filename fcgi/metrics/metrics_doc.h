/* SPDX-License-Identifier: MIT */
/* The catalogue of metrics as the table of docs/METRICS.md.  Pure. */
#ifndef WALCAST_METRICS_DOC_H
#define WALCAST_METRICS_DOC_H

#include "buf.h"
#include "status.h"

/* Appends it as Markdown.  Returns ST_OK, ST_NOMEM or ST_FULL. */
MUST_USE enum status metrics_doc_put(struct buf *out);

#endif
