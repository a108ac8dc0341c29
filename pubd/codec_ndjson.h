/* SPDX-License-Identifier: MIT */
/*
 * The codec of pubd's socket: a line of JSON is a unit, see protocol.h and
 * walcast-protocol(7).  A line ends with LF, or with the end of the input
 * when the peer has ended it; one that we cut off counts as an empty line, so
 * that it is answered and never taken for a whole one.
 */
#ifndef WALCAST_CODEC_NDJSON_H
#define WALCAST_CODEC_NDJSON_H

#include "codec.h"

extern const struct codec codec_ndjson;

#endif
