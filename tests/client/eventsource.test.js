// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeWorld } from './sim/setup.js';

/** A native EventSource, as a test drives it. */
function makeSources() {
	const made = [];
	class FakeEventSource {
		readyState = 0;
		listeners = new Map();

		constructor(url, init) {
			this.url = new URL(url);
			this.init = init;
			made.push(this);
		}

		addEventListener(type, listener) {
			this.listeners.set(type, listener);
		}

		close() {
			this.readyState = 2;
		}

		open() {
			this.readyState = 1;
			this.onopen();
		}

		give(type, data, lastEventId) {
			this.listeners.get(type)?.({ type, lastEventId,
				data: typeof data === 'string' ? data : JSON.stringify(data) });
		}
	}
	return { made, EventSource: FakeEventSource };
}

const OPEN = { stream: 's1', generation: 'g1', head: 40, heartbeat_ms: 15000 };
const item = (id, prev, event = 'message') =>
    ({ id, channel: 'a', event, ts: 1, trace: null, prev, data: { n: id } });

async function start(options) {
	const { made, EventSource } = makeSources();
	const w = makeWorld();
	w.env.EventSource = EventSource;
	w.env.Response = undefined;
	w.made = made;
	await w.start(options);
	await w.settle();
	return w;
}

test('where fetch cannot stream, a native EventSource does', async () => {
	const w = await start({ events: ['created'], credentials: 'include' });
	const [source] = w.made;
	assert.equal(source.url.search, '?channel=a&events=created&envelope=1' +
	    '&heartbeat=event');
	assert.equal(source.init.withCredentials, true);
	source.open();
	source.give('control.open', OPEN, '40');
	source.give('created', item(41, 40, 'created'), '41');
	source.give('message', item(42, 41), '42');
	source.give('system.heartbeat', { head: 50 }, '50');
	assert.deepEqual(w.ids(), ['41', '42']);
	assert.equal(w.of('onOpen')[0].transport, 'eventsource');
	assert.equal(w.of('onHeartbeat')[0].head, 50);
	assert.equal(w.stream.lastEventId, '50');
	w.stream.stop();
	assert.equal(source.readyState, 2);
	source.give('message', item(51, 50), '51');
	assert.equal(w.ids().length, 2);
});

test('it comes back by our delays, with the id and generation in the query', async () => {
	const w = await start();
	w.made[0].open();
	w.made[0].give('control.open', OPEN, '40');
	w.made[0].readyState = 0;
	w.made[0].onerror();
	assert.equal(w.stream.state, 'retrying');
	assert.equal(w.made[0].readyState, 2);
	await w.clock.advance(1000);
	assert.equal(w.made.length, 2);
	const query = w.made[1].url.searchParams;
	assert.equal(query.get('last_event_id'), '40');
	assert.equal(query.get('generation'), 'g1');
	w.stream.stop();
});

test('what it calls closed is final', async () => {
	const w = await start();
	w.made[0].readyState = 2;
	w.made[0].onerror();
	assert.equal(w.stream.state, 'closed');
	assert.match(w.of('onError')[0].message, /does not say why/);
});

test('`fatal` is asked about what it calls closed, with 0', async () => {
	const asked = [];
	const w = await start({ fatal: (status) => asked.push(status) < 0 });
	w.made[0].readyState = 2;
	w.made[0].onerror();
	assert.equal(w.stream.state, 'retrying');
	assert.deepEqual(asked, [0]);
	await w.clock.advance(1000);
	assert.equal(w.made.length, 2);
	w.stream.stop();
});

test('what was open and is closed was cut off, as under a service worker', async () => {
	const w = await start();
	w.made[0].open();
	w.made[0].give('control.open', OPEN, '40');
	w.made[0].readyState = 2;
	w.made[0].onerror();
	assert.equal(w.stream.state, 'retrying');
	await w.clock.advance(1000);
	assert.equal(w.made[1].url.searchParams.get('last_event_id'), '40');
	w.stream.stop();
});

test('an event without an id is no repeat of the one before it', async () => {
	const w = await start({ envelope: false });
	w.made[0].open();
	w.made[0].give('message', 'a', '7');
	w.made[0].give('message', 'b', '7');
	assert.deepEqual(w.of('onEvent').map((e) => [e.id, e.data]),
	    [['7', 'a'], ['', 'b']]);
	w.stream.stop();
});

test('headers or a body cannot be sent, which is said', async () => {
	for (const options of [{ body: 'x' }, { headers: { a: 'b' } }]) {
		const w = await start(options);
		assert.equal(w.stream.state, 'closed');
		assert.equal(w.of('onError')[0].kind, 'unsupported');
		assert.equal(w.made.length, 0);
	}
});

test('transport: "eventsource" asks for it', async () => {
	const { made, EventSource } = makeSources();
	const w = makeWorld();
	w.env.EventSource = EventSource;
	await w.start({ transport: 'eventsource' });
	assert.equal(made.length, 1);
	assert.equal(w.network.connections.length, 0);
	w.stream.stop();
});

test('stopped while its part is being loaded, it never begins', async () => {
	const { made, EventSource } = makeSources();
	const w = makeWorld();
	w.env.EventSource = EventSource;
	const stream = w.make({ transport: 'eventsource' }).connect();
	await Promise.resolve();
	stream.stop();
	await w.settle();
	assert.equal(made.length, 0);
});

test('a full outbox closes it; it comes back when there is room', async () => {
	const done = [];
	const w = await start({ sequential: true, bufferSize: 3, envelope: false,
		onEvent: () => new Promise((resolve) => done.push(resolve)) });
	w.made[0].open();
	for (let id = 1; id <= 9; id++)
		w.made[0].give('message', 'x', String(id));
	assert.equal(w.stream.state, 'retrying');
	assert.equal(w.of('onClose')[0].reason, 'backpressure');
	await w.clock.advance(60000);
	assert.equal(w.made.length, 1, 'it waits for room, not for time');
	done.shift()();
	await w.settle();
	assert.equal(w.made.length, 2);
	assert.equal(w.made[1].url.searchParams.get('last_event_id'), '4');
	w.stream.stop();
});

test('a token goes in the address, since there is no header', async () => {
	let n = 0;
	const w = await start({ token: async () => `a+${++n}`,
		retry: { initialDelayMs: 10, jitter: 0 } });
	assert.match(w.made[0].url.search, /[?&]token=a%2B1(&|$)/);
	assert.doesNotMatch(w.stream.url, /token/);
	w.made[0].open();
	w.made[0].give('control.close', '{"reason":"auth_expired","retry_ms":5}', '');
	w.made[0].onerror();
	await w.clock.advance(100);
	assert.match(w.made[1].url.search, /[?&]token=a%2B2(&|$)/);
	w.stream.stop();
});

test('a refusal may be of a stale token: one fresh one, then final', async () => {
	let n = 0;
	const w = await start({ token: () => `t${++n}`,
		retry: { initialDelayMs: 10, jitter: 0 } });
	for (const source of [0, 1]) {
		assert.match(w.made[source].url.search, RegExp(`token=t${source + 1}`));
		w.made[source].readyState = 2;
		w.made[source].onerror();
		await w.clock.advance(100);
	}
	assert.equal(w.made.length, 2);
	assert.equal(w.stream.state, 'closed');
	assert.deepEqual(w.of('onError').map((e) => e.fatal), [false, true]);
});
