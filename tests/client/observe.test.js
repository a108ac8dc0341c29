// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferWatch } from '../../client/lib/buffering.js';
import { makeLog, redact } from '../../client/lib/log.js';
import { Window } from '../../client/lib/metrics.js';
import { envelope, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld, parts } from './sim/setup.js';

const { consoleSink, memorySink, prometheusSink } = parts.observe;

test('stats counts what happened', async () => {
	const w = makeLogWorld();
	await w.start();
	w.network.publish();
	w.network.heartbeat();
	await w.settle();
	w.network.closeAll();
	await w.clock.advance(3000);
	const stats = w.stream.stats();
	assert.ok(stats.bytes > 400);
	const counted = Object.fromEntries(['events', 'heartbeats', 'attempts',
		'opens', 'reconnects', 'errors', 'state', 'transport', 'stream',
		'generation', 'lastEventId', 'handledEventId', 'waiting',
		'firstEventMs'].map((name) => [name, stats[name]]));
	assert.deepEqual(counted, { events: 1, heartbeats: 1, attempts: 2, opens: 2,
		reconnects: 1, errors: 0, state: 'open', transport: 'fetch',
		stream: 's2', generation: 'g1', lastEventId: '1',
		handledEventId: '1', waiting: 0, firstEventMs: 0 });
	w.stream.stop();
});

test('lag is of live events, by the server\'s clock', async () => {
	const w = makeWorld();
	await w.start();
	const server = w.clock.now() + 5000;
	w.network.last.send(openFrame({ head: 41, server_time_ms: server }) +
	    envelope(41, { prev: 40, ts: server - 60000 }));
	await w.settle();
	assert.equal(w.stream.stats().clockOffsetMs, 5000);
	assert.equal(w.stream.stats().lagMs.n, 0, 'a replayed one is old by intent');
	await w.clock.advance(1000);
	w.network.last.send(envelope(42, { ts: server + 900 }));
	w.network.last.send(envelope(43, { ts: server + 700 }));
	await w.settle();
	assert.deepEqual(w.stream.stats().lagMs,
	    { n: 2, p50: 100, p95: 300, p99: 300, max: 300 });
	w.stream.stop();
});

test('percentiles are of the newest 512', () => {
	const window = new Window();
	assert.deepEqual(window.summary(),
	    { n: 0, p50: null, p95: null, p99: null, max: null });
	for (let i = 1; i <= 100; i++)
		window.add(i);
	assert.deepEqual(window.summary(),
	    { n: 100, p50: 50, p95: 95, p99: 99, max: 100 });
	for (let i = 0; i < 512; i++)
		window.add(7);
	assert.deepEqual(window.summary(), { n: 512, p50: 7, p95: 7, p99: 7, max: 7 });
});

// ---- sinks ---------------------------------------------------------------------------

test('sinks are told, and one that throws costs nothing', async () => {
	const w = makeLogWorld();
	const sink = memorySink();
	const broken = { count() { throw new Error('disk full'); } };
	await w.start({ metrics: [broken, sink] });
	w.network.publish();
	await w.settle();
	assert.equal(sink.counters.events, 1);
	assert.equal(sink.counters.opens, 1);
	assert.equal(sink.counters.bytes, w.stream.stats().bytes);
	assert.equal(sink.observed.lagMs.summary().n, 1);
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
});

test('prometheusSink writes the text format', () => {
	const sink = prometheusSink();
	sink.count('livenessFailures', 2);
	sink.count('events', 3);
	sink.observe('lagMs', 12);
	assert.equal(sink.text(), [
		'# TYPE walcast_client_liveness_failures_total counter',
		'walcast_client_liveness_failures_total 2',
		'# TYPE walcast_client_events_total counter',
		'walcast_client_events_total 3',
		'# TYPE walcast_client_lag_milliseconds summary',
		'walcast_client_lag_milliseconds{quantile="0.5"} 12',
		'walcast_client_lag_milliseconds{quantile="0.95"} 12',
		'walcast_client_lag_milliseconds{quantile="0.99"} 12', ''].join('\n'));
});

test('consoleSink says each figure but bytes', () => {
	const said = [];
	const sink = consoleSink({ debug: (line) => said.push(line) });
	sink.count('bytes', 9);
	sink.count('events', 1);
	sink.observe('lagMs', 3);
	assert.deepEqual(said, ['walcast: events +1', 'walcast: lagMs 3']);
});

// ---- the log --------------------------------------------------------------------------

test('redact leaves no secret', () => {
	for (const [text, clean] of [
		['GET /s?token=abc&channel=a', 'GET /s?token=***&channel=a'],
		['/s?a=1&access_token=abc#x', '/s?a=1&access_token=***#x'],
		['/s?API_KEY=abc', '/s?API_KEY=***'],
		['Authorization: Bearer abc.def', 'Authorization: Bearer ***'],
		['https://u:pw@example.org/', 'https://***@example.org/'],
		['got eyJhbGciOi.eyJzdWIi.c2ln here', 'got *** here'],
		['channel=orders&last=3', 'channel=orders&last=3']])
		assert.equal(redact(text), clean);
});

test('a logger keeps to its level', () => {
	const said = [];
	const logger = Object.fromEntries(['error', 'warn', 'info', 'debug'].map(
	    (name) => [name, (line) => said.push(`${name} ${line}`)]));
	const log = makeLog('warn', logger);
	for (const name of ['debug', 'info', 'warn', 'error'])
		log[name]('x');
	assert.deepEqual(said, ['warn walcast: x', 'error walcast: x']);
	assert.throws(() => makeLog('loud'), /no log level "loud"; there are: silent/);
});

test('a stream logs what happens, with its id and without secrets', async () => {
	const w = makeLogWorld();
	const said = [];
	const line = (name) => (text) => said.push(`${name} ${text}`);
	await w.start({ logLevel: 'debug', logger: { error: line('error'),
		warn: line('warn'), info: line('info'), debug: line('debug') } });
	w.network.last.fail(new TypeError('https://x/?token=secret failed'));
	await w.settle();
	assert.ok(said.includes('info walcast: [-] connecting -> open (opened)'));
	assert.ok(said.includes('debug walcast: [s1] control control.open id 0'));
	assert.ok(said.includes('warn walcast: [s1] https://x/?token=*** failed'));
	assert.ok(!said.some((text) => text.includes('secret')));
	w.stream.stop();
});

test('where the part is not served, it is reported once and events come', async () => {
	const w = makeLogWorld();
	const { WalcastStream } = await import('./sim/setup.js');
	const { observe } = WalcastStream.parts;
	WalcastStream.parts.observe = () => Promise.reject(new Error('404'));
	await w.start({ logLevel: 'info' });
	WalcastStream.parts.observe = observe;
	w.network.publish();
	await w.settle();
	assert.deepEqual(w.of('onError').map((e) => e.kind), ['unsupported']);
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
});

// ---- buffering --------------------------------------------------------------------------

test('events of seconds in one moment, twice, are a path that buffers', () => {
	const watch = new BufferWatch();
	const burst = (at) => [0, 1000, 2500].map((ts) => watch.add(at + ts, at + 2600));
	assert.deepEqual(burst(0), [null, null, null]);
	assert.deepEqual(burst(10000), [null, null, { events: 3, spreadMs: 2500 }]);
	assert.deepEqual(burst(20000), [null, null, null], 'it is said once');
});

test('quick events, slow events and a new connection are none', () => {
	const watch = new BufferWatch();
	for (let i = 0; i < 100; i++)
		assert.equal(watch.add(i * 10, i * 10 + 5), null);
	for (let i = 0; i < 10; i++) {
		assert.equal(watch.add(i * 5000, i * 5000 + 5), null);
		assert.equal(watch.add(i * 5000 + 2600, i * 5000 + 2600), null);
	}
	for (let i = 0; i < 10; i++) {
		watch.reset();
		for (const ts of [0, 1000, 2500])
			assert.equal(watch.add(ts, 1e6 + i), null);
	}
});

test('onBuffered tells, and the next request asks for padding', async () => {
	const w = makeLogWorld();
	const told = [];
	await w.start({ onBuffered: (found) => told.push(found) });
	let held = [];
	w.network.mangle = (text) => {
		held.push(text);
		return '';
	};
	for (let burst = 0; burst < 2; burst++) {
		for (let i = 0; i < 4; i++) {
			w.network.publish();
			await w.clock.advance(1000);
		}
		w.network.last.send(held.join(''));
		held = [];
		await w.settle();
	}
	assert.deepEqual(told, [{ events: 3, spreadMs: 2000 }]);
	assert.equal(w.stream.stats().buffered, true);
	w.stream.restart();
	await w.clock.advance(0);
	assert.equal(w.network.last.url.searchParams.get('padding'), '1');
	w.stream.stop();
});

test('a reconnect between the two is no proof', async () => {
	const w = makeLogWorld();
	const told = [];
	await w.start({ onBuffered: (found) => told.push(found),
		retry: { initialDelayMs: 1 } });
	for (let burst = 0; burst < 3; burst++) {
		w.network.closeAll();
		for (let i = 0; i < 3; i++) {
			w.network.publish();
			w.clock.sleep(1500);
		}
		await w.clock.advance(10);
		for (const text of [0, 1, 2].map((i) => w.clock.now() - 6000 + i * 2000))
			w.network.last.send(envelope(w.network.head + 1, { ts: text,
				prev: w.network.head++ }));
		await w.settle();
	}
	assert.deepEqual(told, []);
	w.stream.stop();
});

// ---- the beacon ---------------------------------------------------------------------------

async function withBeacon(options) {
	const w = makeLogWorld();
	w.sent = [];
	w.env.navigator = { sendBeacon: (url, body) => {
		w.sent.push([url, JSON.parse(body)]);
		return true;
	} };
	await w.start({ beacon: '/sse-metrics.fcgi/beacon', ...options });
	return w;
}

test('a beacon a minute, with counts since the last one', async () => {
	const w = await withBeacon();
	w.network.publish();
	await w.clock.advance(1500);
	for (let i = 0; i < 30; i++)
		w.network.publish();
	w.network.closeAll();
	await w.clock.advance(58000);
	assert.equal(w.sent.length, 0);
	await w.clock.advance(500);
	const [[url, body]] = w.sent;
	assert.equal(url, '/sse-metrics.fcgi/beacon');
	assert.deepEqual(Object.keys(body).sort(), ['buffered', 'duplicates',
		'fallback', 'first_event_ms', 'gaps', 'lag_ms', 'missing',
		'reconnects', 'visible_ms']);
	assert.equal(body.lag_ms.length, 20);
	assert.ok(body.lag_ms.every((ms) => Number.isInteger(ms) && ms >= 0));
	assert.deepEqual([body.first_event_ms, body.reconnects, body.gaps,
		body.duplicates, body.missing, body.buffered, body.fallback,
		body.visible_ms], [0, 2, 0, 0, 0, false, 'fetch', 60000]);
	await w.clock.advance(60000);
	assert.deepEqual([w.sent[1][1].first_event_ms, w.sent[1][1].lag_ms],
	    [null, []]);
	w.stream.stop();
	assert.equal(w.clock.pending, 0);
});

test('one more when the page goes, and numbers within the server\'s bounds', async () => {
	const w = await withBeacon();
	await w.clock.advance(7200000);
	w.network.generation = 'g1';
	const before = w.sent.length;
	for (let i = 0; i < 12000; i++)
		w.stream.stats();
	w.network.publish();
	await w.settle();
	w.page.visibilityState = 'hidden';
	w.page.fire('visibilitychange');
	await w.clock.advance(10000);
	w.page.fire('pagehide', { persisted: false });
	assert.equal(w.sent.length, before + 1);
	const body = w.sent.at(-1)[1];
	assert.equal(body.first_event_ms, 3600000, 'cut to an hour');
	assert.ok(body.visible_ms < 60000);
	w.stream.stop();
});

test('without sendBeacon it goes by fetch with keepalive', async () => {
	const w = makeLogWorld();
	const posts = [];
	const { fetch } = w.env;
	w.env.fetch = (url, init) => (init.method === 'POST'
		? (posts.push([url, init]), Promise.reject(new Error('off')))
		: fetch(url, init));
	await w.start({ beacon: '/b' });
	w.page.fire('pagehide');
	await w.settle();
	assert.equal(posts[0][1].keepalive, true);
	assert.equal(posts[0][1].headers['Content-Type'], 'text/plain');
	w.stream.stop();
});
