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
 * answer: what onCannotResume returns; tokens: one each time one is asked for;
 * mint: where they come from.
 */
export function follow(connect, url, given, tell) {
	const { answer, tokens, mint, ...options } = given;
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
	if (mint)
		options.token = async () => {
			tell({ on: 'mint' });
			const base = new URL(url, globalThis.location?.href);
			return (await fetch(new URL(mint, base))).text();
		};
	return connect(url, options);
}
