// SPDX-License-Identifier: MIT
//
// Options to the request: walcast-protocol(7), "STREAMING".

const resolve = (value) => (typeof value === 'function' ? value() : value);

/** The address without a position: what two tabs must have in common. */
export function baseUrl(url, options, env) {
	const made = new URL(url, env.document?.baseURI);
	const query = made.searchParams;
	for (const channel of [options.channels ?? []].flat())
		query.append('channel', channel);
	if (options.events)
		query.set('events', options.events.join(','));
	if (options.envelope ?? true)
		query.set('envelope', '1');
	return made;
}

/** at: {id, generation, padding, inQuery, token}; id '' means live from now. */
export function requestUrl(base, { last }, at) {
	const { id, generation, padding, inQuery, token } = at;
	const made = new URL(base);
	const query = {
		generation,
		padding: padding && 1,
		heartbeat: inQuery && 'event',
		last_event_id: inQuery && id,
		token: inQuery && token,
		last: !id && last,
	};
	for (const [name, value] of Object.entries(query))
		if (value)
			made.searchParams.set(name, value);
	return made.href;
}

/** What fetch is called with; headers and body are asked anew. */
export async function requestInit(options, id, token) {
	const { method, credentials } = options;
	const headers = new Headers(await resolve(options.headers));
	headers.set('Accept', 'text/event-stream');
	if (id)
		headers.set('Last-Event-ID', id);
	if (token)
		headers.set('Authorization', `Bearer ${token}`);
	return { method, credentials, headers, cache: 'no-store',
		body: await resolve(options.body) };
}
