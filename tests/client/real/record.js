// SPDX-License-Identifier: MIT
//
// What a stream tells its handlers, as lines for the test to judge; the same in
// Node and in a page.

const NAMES = ['open', 'close', 'error', 'retry', 'giveUp', 'resumeAttempt',
	'cannotResume', 'gap', 'duplicate', 'outOfOrder', 'livenessFailure',
	'stateChange', 'control', 'heartbeat'];

const plain = ({ event, error, cause, ...payload }) => ({ ...payload,
	...(error && { error: `${error.kind}: ${error.message}` }) });

const fromError = ({ kind, status, fatal, message }) =>
    ({ kind, status, fatal, message });

/**
 * A stream that calls tell({on: name, ...payload}) for whatever happens.
 * answer: what onCannotResume returns; tokens: one for each attempt.
 */
export function follow(connect, url, { answer, tokens, ...options }, tell) {
	for (const name of NAMES)
		options[`on${name[0].toUpperCase()}${name.slice(1)}`] = (payload) => {
			tell({ on: name, ...(name === 'error'
				? fromError : plain)(payload) });
			return name === 'cannotResume' ? answer : undefined;
		};
	options.onEvent = ({ id, channel, prev, recovered }) =>
	    tell({ on: 'event', id: Number(id), channel, prev, recovered });
	if (tokens)
		options.token = () => tokens.shift();
	return connect(url, options);
}
