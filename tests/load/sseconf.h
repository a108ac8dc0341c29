/* SPDX-License-Identifier: MIT */
/* The command line of sseload. */
#ifndef SSECONF_H
#define SSECONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_MAX_URLS    64
#define CONF_MAX_HEADERS 16

struct url {
	struct sockaddr_in addr;
	const char *host; /* as given, with the port */
	int host_len;
	const char *path;
};

struct conf {
	struct url urls[CONF_MAX_URLS];
	size_t n_urls;
	const char *headers[CONF_MAX_HEADERS];
	size_t n_headers;
	size_t n_streams;
	size_t ready_streams;  /* 0: all */
	double connects_per_s; /* 0: as fast as 256 at a time allow */
	double churn_pct;      /* percent of all streams, each second */
	bool churn_rst;
	size_t n_stalled;
	double stall_s;
	uint64_t stall_after; /* events */
	int rcvbuf;           /* 0: the kernel's */
	size_t read_bytes;
	double coalesce_ms; /* 0: read what is ready at once */
	bool ids;           /* ids are integers and are checked */
	bool dense;
	bool seq;
	bool open_on_head; /* open without control.open */
	bool allow_gaps;
	bool reconnect;
	bool retry_errors;
	bool close_done;
	const char *last_id;
	uint64_t until_id;
	uint64_t until_position;
	uint64_t until_events;
	double seconds;
	double max_s;
	double linger_s;
	uint64_t retry_ms;   /* UINT64_MAX: what the server says */
	const char *latency; /* name of the field; NULL: none */
	const char *start_file;
	const char *ready_file;
	const char *dump_file;
	uint64_t max_fds;
	unsigned n_sources; /* 0: no bind */
	uint64_t seed;
};

/* Fills c, or ends the program with status 2. */
void conf_parse(struct conf *c, char **argv);

#endif
