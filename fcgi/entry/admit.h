/* SPDX-License-Identifier: MIT */
/*
 * From a request to a stream: limits, the position, the first bytes.
 */
#ifndef WALCAST_ADMIT_H
#define WALCAST_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"
#include "frontend.h"
#include "params.h"
#include "status.h"

struct authorizer;
struct authz;
struct conf;
struct event;
struct hub;
struct loop;
struct rejudge;
struct replay;
struct reply_set;
struct slots;
struct stream;
struct tail;

/*
 * Why a stream is turned away: X(MEMBER, word in logs and metrics); see
 * frontend.h.
 */
#define ADMIT_REJECT_LIST(X)                                                   \
	X(MAX_STREAMS, "max_streams") /* of this process */                    \
	X(SLOTS, "slots")             /* of the web server */                  \
	X(RAMP, "ramp")               /* too many at once for it */            \
	X(ADDRESS, "address")                                                  \
	X(DRAIN, "drain")                                                      \
	X(UNAVAILABLE, "unavailable") /* the log cannot be read so far */      \
	X(EXPIRED, "auth_expired")    /* its token has */                      \
	X(APP, "application")         /* it did not answer */                  \
	X(REVOKED, "revoked")         /* while he was being let in */

enum admit_reject {
#define X(member, word) ADMIT_##member,
	ADMIT_REJECT_LIST(X)
#undef X
	    ADMIT_REJECTS
};

/* Errors that are final, by status; 0: any other. */
#define ADMIT_REFUSE_LIST(X)                                                   \
	X(400, 400)                                                            \
	X(401, 401)                                                            \
	X(403, 403)                                                            \
	X(405, 405)                                                            \
	X(406, 406)                                                            \
	X(OTHER, 0)

enum admit_refuse {
#define X(member, status) ADMIT_##member,
	ADMIT_REFUSE_LIST(X)
#undef X
	    ADMIT_REFUSES
};

struct admit_counters {
	uint64_t n_asked; /* streams */
	uint64_t n_rejected[ADMIT_REJECTS];
	uint64_t n_front_rejected[FRONTS];
	uint64_t n_refused[ADMIT_REFUSES];
	/* n_came_back == resumes ok + with a gap + failed */
	uint64_t n_came_back, n_resumes_ok, n_resumes_gap, n_resumes_failed;
	uint64_t n_mismatch[GAP_CODES]; /* of resumes with a gap */
};

struct admit;

struct admit_options {
	const struct conf *conf; /* this and all below outlive it */
	struct loop *loop;
	struct hub *hub;
	struct tail *tail;
	struct replay *replay;
	struct reply_set *replies;
	struct slots *slots; /* NULL: none are counted */
	struct authz *authz;
	struct authorizer *authorizer;
	struct rejudge *rejudge;
};

MUST_USE enum status admit_new(struct admit **out,
    const struct admit_options *o);
void admit_free(struct admit **a);

/* From now on everybody is told that this worker ends. */
void admit_drain(struct admit *a);

/*
 * Serves one request on fd, which it takes in every case.
 * request_id   0: plain CGI, nothing is framed
 */
void admit_request(struct admit *a, int fd, uint16_t request_id,
    const struct params *params);

/* Requests that wait for the application. */
size_t admit_n_waiting(const struct admit *a);

/* The word for it, in logs and metrics. */
const char *admit_reject_name(enum admit_reject why);

const struct admit_counters *admit_counters(const struct admit *a);

/*
 * Of the locations with a cap, the one that has least room: how many more
 * streams it takes, and its cap.  Counts on until `until_us` (monotonic) at
 * most; false when none is known yet.
 */
bool admit_least_room(struct admit *a, uint64_t until_us, int64_t *room,
    int64_t *cap);

/*
 * Obeys a revocation of the log, for streams and for those that are to become
 * one; for hub_options.revoked.
 */
void admit_revoked(struct admit *a, const struct event *e);

/* Gives back what a stream held; for hub_options.ended. */
void admit_release(struct admit *a, const struct stream *s);

#endif
