/* SPDX-License-Identifier: MIT */
/*
 * Who may read, publish, report and revoke: the rules of access.conf(5).
 * Nothing is allowed that no line allows; lines add up, there is no deny.
 * Pure: a text becomes rules, and rules with a person give a verdict.
 *
 *   WHO                          WHAT            CHANNELS       [rate= burst=]
 *   anyone                       read            news public.*
 *   user                         read            user.$user user.$user.*
 *   user alice bob@example.com   read            admin.*
 *   group staff                  read            staff.*
 *   env OIDC_CLAIM_tenant        read            tenant.$value.*
 *   env SSL_CLIENT_VERIFY=SUCCESS read           devices.*
 *   token                        read,publish    *
 *   app                          read            *
 *   uid www-data                 publish         orders.* rate=2000/s burst=500
 *   gid walcast                  publish,revoke  *
 *   uid 33                       report
 */
#ifndef WALCAST_ACCESS_H
#define WALCAST_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define ACCESS_MAX_BYTES (1 << 20) /* of a file */
#define ACCESS_MAX_LINES 4096      /* that are rules */
#define ACCESS_MAX_USERS 3         /* names that one visitor has at once */

/* What a line allows: X(MEMBER, word in the file); see frontend.h. */
#define ACCESS_OPS(X)                                                          \
	X(READ, "read")                                                        \
	X(PUBLISH, "publish")                                                  \
	X(REPORT, "report") /* to pubd, as a process of ours */                \
	X(REVOKE, "revoke")

enum access_op {
#define X(member, word) ACCESS_##member,
	ACCESS_OPS(X)
#undef X
	    ACCESS_OP_COUNT
};

/* Whom a line is for: X(MEMBER, word in the file, in logs and metrics). */
#define ACCESS_KINDS(X)                                                        \
	X(ANYONE, "anyone")                                                    \
	X(USER, "user")                                                        \
	X(GROUP, "group")                                                      \
	X(ENV, "env")                                                          \
	X(TOKEN, "token")                                                      \
	X(APP, "app")                                                          \
	X(UID, "uid")                                                          \
	X(GID, "gid")

enum access_kind {
#define X(member, word) ACCESS_##member,
	ACCESS_KINDS(X)
#undef X
	    ACCESS_KIND_COUNT
};

/* Channels, exact names and prefixes, that somebody vouches for. */
struct access_list {
	const struct span *pattern;
	size_t n;
};

/* Who asks.  All that it points to outlives the call. */
struct access_person {
	/* His names: the vhost's, the token's, the application's.  Empty ones
	 * count for nothing. */
	struct span user[ACCESS_MAX_USERS];
	/* A variable of the vhost, p NULL when it is not set; NULL: none is. */
	struct span (*env)(void *arg, struct span name);
	void *env_arg;
	/* What a verified token allows; NULL: there is none. */
	const struct access_list *token_read, *token_publish;
	/* What the application has answered; NULL: it was not asked. */
	const struct access_list *app;
	int64_t uid; /* of a socket's peer; -1: none */
	const int64_t *gid;
	size_t n_gids;
};

/* How a line came out for a channel, for logs and `walcast access`. */
#define ACCESS_OUTCOMES(X)                                                     \
	X(ALLOWS, "allows")                                                    \
	X(OTHER_OP, "is for something else")                                   \
	X(OTHER_CHANNEL, "is for other channels")                              \
	X(NOT_COVERED, "covers only a part of the prefix")                     \
	X(NO_USER, "needs a user, and there is none")                          \
	X(OTHER_USER, "is for other users")                                    \
	X(NO_GROUP, "is for a group that this user is not in")                 \
	X(NO_ENV, "needs a variable that is not set")                          \
	X(OTHER_ENV, "needs another value of the variable")                    \
	X(NO_CERTIFICATE, "needs a verified client certificate")               \
	X(NO_TOKEN, "needs a token, and there is none")                        \
	X(OTHER_TOKEN, "is for a token that allows it")                        \
	X(APP_NOT_ASKED, "asks the application")                               \
	X(APP_REFUSED, "is for whom the application allows it")                \
	X(OTHER_UID, "is for another uid")                                     \
	X(OTHER_GID, "is for another gid")

enum access_outcome {
#define X(member, words) ACCESS_##member,
	ACCESS_OUTCOMES(X)
#undef X
	    ACCESS_OUTCOME_COUNT
};

struct access_verdict {
	bool allowed;
	bool ask_app;          /* not allowed so far, but an `app` line covers
				  it: the application would decide */
	unsigned line;         /* the first that allows; 0: none */
	enum access_kind kind; /* of that line */
};

struct access; /* the rules of one file, and of its groups; immutable */

/* What rules are read from; all of it may go away afterwards. */
struct access_source {
	struct span text;
	struct span groups; /* htgroup(1); p NULL: none, and a line `group` is
			       an error */
	const char *name;   /* how to call the file in errors */
	const char *groups_name; /* and that of groups */
	/* Numbers of names; NULL: only numbers are understood. */
	bool (*find_uid)(struct span name, int64_t *uid);
	bool (*find_gid)(struct span name, int64_t *gid);
};

/*
 * Reads a file.
 * Returns  ST_OK, ST_NOMEM, ST_INVALID: err says "FILE:LINE: what is wrong"
 */
MUST_USE enum status access_parse(struct access **out,
    const struct access_source *src, struct errmsg *err);
void access_free(struct access **a);

/*
 * May this person do it with this channel?  A prefix (`orders.*`) is allowed
 * only where one line covers all of it.
 *
 * channel  a name or a pattern; p NULL: for REPORT and REVOKE, which name none
 */
struct access_verdict access_judge(const struct access *a,
    const struct access_person *p, enum access_op op, struct span channel);

/* The same, told line by line in the order of the file. */
void access_explain(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel,
    void (*tell)(void *arg, unsigned line, enum access_outcome outcome),
    void *arg);

/*
 * What a line of `uid` or `gid` says of speed; per_s 0: it says nothing.  The
 * bucket of a uid line is each uid's own, that of a gid line is the line's.
 */
struct access_rate {
	int64_t per_s, burst;
	bool shared; /* the line's: it is of `gid` */
};
struct access_rate access_rate_of(const struct access *a, unsigned line);

/* The next line after `line` that allows it, too; 0: none. */
unsigned access_next(const struct access *a, const struct access_person *p,
    enum access_op op, struct span channel, unsigned line);

/*
 * Those of them that could allow something to this socket's peer, for one who
 * asks often: lines of others, and for what only visitors have, are left out.
 * It points into `a` and is not to be asked once that is freed; access_free
 * frees it, before or after.
 *
 * Returns  ST_OK, ST_NOMEM, ST_FULL: they are more than `max`
 */
MUST_USE enum status access_for_peer(struct access **out,
    const struct access *a, const struct access_person *p, size_t max);

/* How many lines there are that are rules. */
size_t access_n_rules(const struct access *a);

bool access_has_kind(const struct access *a, enum access_kind kind);

/* Calls fn for each variable that a line names, once for each line. */
void access_each_env(const struct access *a,
    void (*fn)(void *arg, struct span name), void *arg);

/* Has it a line of `uid` or `gid` for this socket's peer, whatever it says? */
bool access_names_peer(const struct access *a, const struct access_person *p);

/* What is odd in it, without being an error: for doctor, -n and the log. */
void access_warnings(const struct access *a,
    void (*tell)(void *arg, unsigned line, const char *text), void *arg);

/* Does the pattern `outer` cover all that `inner` (name or pattern) matches? */
bool access_covers(struct span outer, struct span inner);

/* The text of a line, for logs; without its comment. */
struct span access_line_text(const struct access *a, unsigned line);

const char *access_kind_name(enum access_kind kind);
const char *access_op_name(enum access_op op);
const char *access_outcome_words(enum access_outcome outcome);

#endif
