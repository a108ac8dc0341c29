// SPDX-License-Identifier: MIT
//
// The transport where fetch cannot stream; loaded only there.  An EventSource
// sends no headers, tells no status and no position without an event (so
// heartbeats are asked for as events), and gives only types that are known by
// name.  It would come back by itself; we close it and keep our own delays.

const CLOSED = 2;
const CONTROL = ['control.open', 'control.gap', 'control.close',
	'system.heartbeat'];

/** A transport: see lib/transport.js. */
export function open(prepare, sink, env, { headers, body }) {
	let source = null;
	let closed = false;
	let wasOpen = false;
	let id = '';
	// It keeps the id for events without one; a new one is the event's own.
	const take = ({ type, data, lastEventId }) => {
		const hasId = lastEventId !== id;
		id = lastEventId;
		sink.bytes(data.length);
		sink.frame({ type, data, id, hasId });
	};
	const end = (error) => {
		if (closed)
			return;
		close();
		sink.ended(error);
	};
	const close = () => {
		closed = true;
		source?.close();
	};
	const fail = (kind, message, fatal) =>
	    end(sink.error(kind, message, { fatal }));
	prepare().then(({ url, init }) => {
		if (closed)
			return;
		if (!env.EventSource || headers || body) {
			fail('unsupported', 'fetch cannot stream here, and an ' +
			    'EventSource takes no headers or body', true);
			return;
		}
		source = new env.EventSource(url,
		    { withCredentials: init.credentials === 'include' });
		source.onopen = () => {
			wasOpen = true;
			if (!closed)
				sink.opened({ status: 200, stream: null });
		};
		// Under a service worker a broken connection closes it, too.
		source.onerror = () => (source.readyState === CLOSED && !wasOpen
			? fail('status', 'the server refused the stream; an ' +
			    'EventSource does not say why', sink.isFatal(0))
			: fail('network', 'the connection failed', false));
		for (const type of new Set([...CONTROL, ...sink.types()]))
			source.addEventListener(type, (e) => closed || take(e));
	}).catch((error) => end(error.kind ? error
	    : sink.error('request', error.message)));
	return close;
}
