/* SPDX-License-Identifier: MIT */
/*
 * sseload inside: one subscriber, and what all of them counted.
 * sseload.c moves bytes, ssecheck.c judges blocks, ssereport.c prints.
 */
#ifndef SSELOAD_H
#define SSELOAD_H

#include <stdio.h>

#include "hist.h"
#include "order.h"
#include "sseconf.h"
#include "ssewire.h"

#define LOAD_MAX_STATUS 600
#define LOAD_MAX_NAMES  16 /* reasons and codes that are told apart */
#define LOAD_MAX_SHOWN  10 /* violations printed */

enum stream_state {
	STREAM_IDLE, /* no connection; a timer may be set */
	STREAM_CONNECTING,
	STREAM_READING, /* request sent */
	STREAM_STALLED, /* open, and not read */
	STREAM_FINAL,   /* over: an EventSource would not come back */
};

/* A name and how often it came. */
struct name_count {
	char name[32];
	uint64_t n;
};

struct load;

struct stream {
	struct load *load;
	size_t number;
	int fd;
	enum stream_state state;
	bool slow; /* one of --stall */
	bool has_stalled;
	bool is_open;  /* this connection is */
	bool was_open; /* some connection was */
	bool done;
	bool must_close; /* set while feeding */
	uint32_t n_connects;
	uint64_t retry_ms;
	struct order order;
	struct wire wire;
	size_t last_id_len; /* text that was not a number, or --ids none */
	char last_id[WIRE_MAX_NAME];
};

struct worker_metrics {
	uint64_t connects;
	uint64_t reconnects;
	uint64_t connect_errors;
	uint64_t opened; /* connections */
	uint64_t ends_clean;
	uint64_t ends_cut;
	uint64_t churned;
	uint64_t bad_type;
	uint64_t events;
	uint64_t bytes;
	uint64_t control_open;
	uint64_t control_gap;
	uint64_t control_other;
	uint64_t gap_lost;
	uint64_t heartbeats; /* events; comments are in struct wire */
	uint64_t no_time;    /* events without the field of --latency */
	uint64_t violations;
	uint64_t first_us; /* first and last event */
	uint64_t last_us;
	uint64_t faults[N_FAULTS];
	uint32_t http[LOAD_MAX_STATUS];
	struct name_count gap_codes[LOAD_MAX_NAMES];
	struct name_count close_reasons[LOAD_MAX_NAMES];
	struct hist fast; /* latency of streams that do not stall */
	struct hist slow;
};

struct load {
	struct conf conf;
	struct stream *streams;
	struct worker_metrics worker_metrics;
	FILE *dump;
	uint64_t now_us; /* when the bytes at hand were read */
	uint64_t start_us;
	uint64_t ready_us; /* 0: not yet */
	size_t n_open;     /* streams that were open at least once */
	size_t n_done;
	size_t n_final; /* failed for good, not done */
};

/* A wire_block_fn; arg is the struct stream. */
void check_block(void *arg, const struct wire_block *b);

/* Counts a violation and shows the first ones on standard error. */
void check_fault(struct stream *s, enum fault f, uint64_t id, const char *what);

/* A stream is open: its head, or its control.open, has come. */
void check_opened(struct stream *s);

/* A done stream counts once. */
void check_done(struct stream *s);

/* Prints the JSON object; the exit status of the program. */
int report_print(const struct load *l, bool complete, FILE *out);

#endif
