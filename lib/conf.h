/* SPDX-License-Identifier: MIT */
/*
 * The configuration of all programs: one table (conf.c) of key, type, range,
 * default, unit and sentence, from which the parser, `-n`, the dump and the
 * checks of the manual are made.
 *
 * File format: `key = value` lines; `#` begins a comment at the start of a line
 * or after white space; blank lines are skipped.  A key may appear once.
 * Environment WALCAST_<KEY> overrides the file.
 */
#ifndef WALCAST_CONF_H
#define WALCAST_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "log.h"
#include "span.h"
#include "status.h"

#define CONF_DEFAULT_PATH "/etc/walcast/walcast.conf"
#define CONF_PATH_MAX     256

/* The values of keys that are one of a few words: X(member, word). */
#define CONF_SYNCHRONOUS(X)                                                    \
	X(CONF_SYNC_FULL, "full")                                              \
	X(CONF_SYNC_NORMAL, "normal")

#define CONF_REJECTS(X)                                                        \
	X(CONF_REJECT_SOFT, "soft")                                            \
	X(CONF_REJECT_HARD, "hard")

#define CONF_SWITCHES(X)                                                       \
	X(CONF_OFF, "off")                                                     \
	X(CONF_ON, "on")

#define CONF_MEMBER(member, word) member,
enum conf_synchronous { CONF_SYNCHRONOUS(CONF_MEMBER) };
enum conf_reject { CONF_REJECTS(CONF_MEMBER) };
enum conf_switch { CONF_SWITCHES(CONF_MEMBER) };
#undef CONF_MEMBER

struct conf {
	char database[CONF_PATH_MAX];
	char socket[CONF_PATH_MAX];
	char default_channel[CONF_PATH_MAX]; /* "" when not set */
	char allow_origin[1024];             /* space separated; "" none */
	int64_t socket_mode;
	int64_t synchronous; /* enum conf_synchronous */
	int64_t retain_events;
	int64_t retain_age_s;
	int64_t retain_bytes;
	int64_t max_data_bytes;
	int64_t max_line_bytes;
	int64_t idle_timeout_s;  /* of a connection to pubd */
	int64_t lock_timeout_ms; /* how long a commit waits for the lock */
	int64_t publish_rate;    /* events a second of each user; 0: any */
	int64_t publish_burst;   /* 0: as many as in a second */
	int64_t heartbeat_ms;
	int64_t retry_ms;
	int64_t ring_bytes;
	int64_t tail_poll_ms;
	int64_t max_streams;
	int64_t max_streams_per_address;
	int64_t max_age_s;
	int64_t max_lag_events;
	int64_t max_lag_s;
	int64_t request_timeout_ms; /* a request must be whole by then */
	int64_t reject;             /* enum conf_reject */
	int64_t drain_ms;
	int64_t log_format; /* enum log_format */
	int64_t log_level;  /* enum log_level */
	int64_t log_rate;   /* lines a second of a kind that peers cause */
	int64_t metrics;    /* enum conf_switch */
	char metrics_channels[1024];    /* comma separated; "" none */
	char report_users[256];         /* uids, space separated; "" none */
	int64_t beacon;                 /* enum conf_switch */
	int64_t beacon_sample;          /* percent that is counted */
	int64_t beacon_rate;            /* a minute and address; 0: no limit */
	char otlp_endpoint[1024];       /* a URL; "" off */
	char access[CONF_PATH_MAX];     /* rules; "" everybody may read */
	char groups[CONF_PATH_MAX];     /* htgroup(1); "" none */
	char token_keys[CONF_PATH_MAX]; /* "" no tokens */
	char token_cookie[128];
	char token_audience[256]; /* "" any */
	char token_issuer[256];   /* "" any */
	char authorizer[512];     /* fcgi:SOCKET:SCRIPT; "" none */
	int64_t authorizer_timeout_ms;
	int64_t authorizer_age_s; /* of an answer that says none */
	int64_t authorizer_max;   /* questions at once */
};

/* The long-running programs that read a key; walcast(1) is not one. */
enum conf_user { CONF_PUBD = 1, CONF_WORKER = 2, CONF_METRICS = 4 };

/* One row of the table; conf_rows ends with a row whose key is NULL. */
enum conf_type {
	CONF_INT,
	CONF_MODE,
	CONF_TEXT,   /* with a rule of its own */
	CONF_STRING, /* as it stands; may be empty */
	CONF_PATH,
	CONF_ENUM
};

struct conf_row {
	const char *key;
	enum conf_type type;
	size_t offset;             /* of the member in struct conf */
	size_t size;               /* of the member, bytes */
	const char *initial;       /* default, as it would stand in a file */
	int64_t min, max;          /* CONF_INT and CONF_MODE */
	const char *const *values; /* CONF_ENUM, in order, NULL at the end */
	const char *unit;          /* "" when it has none */
	unsigned users;            /* a bit for each enum conf_user */
	/*
	 * HUP changes it in all programs that use it: each reads it here
	 * whenever it needs it, or copies it again.  A key of which one program
	 * keeps a first copy cannot be reloaded.
	 */
	bool reload;
	const char *sentence;
};

extern const struct conf_row conf_rows[];

/* The built-in defaults. */
void conf_defaults(struct conf *c);

/*
 * Reads the text of a file over *c.
 *
 * name     how to call the file in errors
 * Returns  ST_OK or ST_INVALID; err says "FILE:LINE: what is wrong", and *c
 *          is unchanged
 */
MUST_USE enum status conf_parse(struct conf *c, struct span text,
    const char *name, struct errmsg *err);

/* Overrides from an environment (as environ(7)); as conf_parse. */
MUST_USE enum status conf_environment(struct conf *c, char *const *env,
    struct errmsg *err);

/*
 * All of it: defaults, then the file (`path` if not NULL, else $WALCAST_CONF,
 * else CONF_DEFAULT_PATH if it is there), then the environment.
 *
 * Returns  ST_OK, ST_INVALID, ST_NOTFOUND (a file that was named is not
 *          there), ST_IO
 */
MUST_USE enum status conf_load(struct conf *c, const char *path,
    struct errmsg *err);

/*
 * The name of the file that conf_load reads: `path`, else $WALCAST_CONF, else
 * CONF_DEFAULT_PATH.
 */
const char *conf_file(const char *path);

/*
 * Copies from *fresh to *now the keys that the program reads and that may
 * change while it runs.
 */
void conf_merge(struct conf *now, const struct conf *fresh,
    enum conf_user user);

/*
 * The next key after `after` (NULL: the first) that the program reads and that
 * has changed, but that only a restart can change.  NULL: no more.
 */
const struct conf_row *conf_unmerged(const struct conf *now,
    const struct conf *fresh, enum conf_user user,
    const struct conf_row *after);

/*
 * Writes every key with its value, as a file that conf_parse reads; a user, a
 * password and a query in otlp_endpoint become ***.
 */
void conf_dump(const struct conf *c, FILE *out);

#endif
