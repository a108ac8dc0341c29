// SPDX-License-Identifier: MIT
//
// One connection by fetch.  A transport is open(prepare, sink, env), which
// returns a function that closes it for real: nothing is told after that.
//
// prepare() gives a promise of {url, init} for fetch.  The sink is told
//   opened({status, stream})   the answer is a stream
//   bytes(n)                   something came, whatever it is
//   frame(event), position, comment, retry    as the parser says them
//   ended(error)               a StreamError; null: the server ended it
// and asked ready(), a promise while it wants no more, so that the bytes stay
// in the network and the server's socket.

import { EventStreamParser } from './parser.js';

/**
 * kind: 'network', 'timeout', 'status', 'no_content', 'content_type',
 * 'too_long', 'request' (headers or body failed), 'token', 'auth_expired',
 * 'revoked', 'handler', 'storage', 'gave_up', 'unsupported', 'cannot_resume';
 * more: {status, retryAfterMs, fatal, cause, event, problem}
 */
export const streamError = (kind, message, more) => Object.assign(
    new Error(message), { name: 'StreamError', kind, fatal: false }, more);

/** Seconds or a date to milliseconds from now; undefined: nothing to wait. */
export function retryAfter(value, now) {
	const ms = value * 1000 || Date.parse(value) - now;
	return ms > 0 ? ms : undefined;
}

/** What an answer means that is no stream; null: it is one. */
export function judgeResponse({ status, headers }, isFatal, now) {
	if (status === 204)
		return streamError('no_content', 'the server answered 204',
		    { status, fatal: true });
	const type = headers.get('content-type');
	const isAnswer = status === 200;
	if (isAnswer && /^text\/event-stream\s*(;|$)/i.test(type))
		return null;
	return streamError(...isAnswer
		? ['content_type', `the answer is ${type}, not text/event-stream: ` +
		    'a page for login, or another address?']
		: ['status', `the server answered ${status}`], {
		status,
		fatal: isFatal(status),
		retryAfterMs: retryAfter(headers.get('retry-after'), now),
	});
}

/** With what the server says of it (RFC 9457). */
async function explain(error, response) {
	const type = response.headers.get('content-type');
	if (!/^application\/problem\+json/i.test(type))
		return error;
	const problem = await response.json().catch(() => null);
	if (problem?.detail)
		error.message += `: ${problem.detail}`;
	return Object.assign(error, { problem });
}

export const canStream = ({ fetch, Response }) =>
    fetch && Response && 'body' in Response.prototype;

export function openFetch(prepare, sink, env) {
	const abort = new AbortController();
	const { signal } = abort;
	// The rest of a piece is not heard when a handler closed the connection.
	const open = (tell) => (value) => signal.aborted || tell(value);
	const parser = new EventStreamParser({
		onEvent: open(sink.frame),
		onPosition: open(sink.position),
		onComment: open(sink.comment),
		onRetry: open(sink.retry),
	}, sink);
	let stage = 'request';

	async function run() {
		const { url, init } = await prepare();
		stage = 'network';
		const { fetch } = env;
		const response = await fetch(url, { ...init, signal });
		const refused = judgeResponse(response, sink.isFatal, env.now());
		if (refused)
			return explain(refused, response);
		open(sink.opened)({ status: response.status,
			stream: response.headers.get('x-sse-stream') });
		const reader = response.body.getReader();
		for (;;) {
			await sink.ready();
			const { done, value } = await reader.read();
			if (done || signal.aborted)
				return null;
			sink.bytes(value.length);
			parser.push(value);
		}
	}

	run().catch((cause) => {
		if (cause?.kind)
			return cause;
		const fatal = cause instanceof RangeError;
		return streamError(fatal ? 'too_long' : stage,
		    String(cause?.message ?? cause), { cause, fatal });
	}).then(open((error) => {
		abort.abort();
		sink.ended(error);
	}));
	return () => abort.abort();
}
