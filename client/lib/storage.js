// SPDX-License-Identifier: MIT
//
// Where the position outlives the page: {id, generation}.
//
// A store is {load(), save(position), clear()}; each may return a promise, and
// may throw: the stream reports it and goes on.

const NOTHING = { load() {}, save() {}, clear() {} };

/**
 * storage: 'memory' (the default), 'local', 'session', or a store of the
 * caller's.  The key holds the path and the channels, never a secret that
 * stands in the address.
 */
export function pickStore({ storage = 'memory', storageKey }, url, env) {
	if (storage === 'memory')
		return NOTHING;
	if (storage !== 'local' && storage !== 'session')
		return storage;
	const key = storageKey ?? `walcast:${url.origin}${url.pathname}?` +
	    url.searchParams.getAll('channel');
	// Reading the property throws where the site may not store anything.
	const area = () => env[`${storage}Storage`];
	return {
		load: () => JSON.parse(area().getItem(key)),
		save: (position) => area().setItem(key, JSON.stringify(position)),
		clear: () => area().removeItem(key),
	};
}
