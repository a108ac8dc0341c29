/* SPDX-License-Identifier: MIT */
/*
 * In which form the metrics are wanted: `format=` decides, else the Accept
 * header (RFC 9110 section 12.5.1), else it is Prometheus text.  Pure.
 */
#ifndef WALCAST_FORM_H
#define WALCAST_FORM_H

#include "span.h"

enum form {
	FORM_TEXT,
	FORM_OPENMETRICS,
	FORM_JSON,
	FORM_HTML,
	FORM_STREAM, /* channel=system.status */
	FORM_NO_FORMAT,
	FORM_NO_CHANNEL
};

#define FORM_CHANNEL "system.status"

/*
 * query    still encoded
 * accept   the header's value
 * Returns  the last two when format= or channel= names something else
 */
enum form form_wanted(struct span query, struct span accept);

#endif
