// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld } from './sim/setup.js';

const SILENCE_MS = 15000 * 2.5 + 1000;

async function opened(options) {
	const w = makeWorld();
	await w.start(options);
	w.network.last.send(openFrame());
	await w.settle();
	return w;
}

test('silence of two and a half heartbeats is death, and the socket is closed', async () => {
	const w = await opened();
	await w.clock.advance(SILENCE_MS - 1);
	assert.equal(w.stream.state, 'open');
	await w.clock.advance(1);
	assert.deepEqual(w.of('onLivenessFailure'), [{ cause: 'timeout',
		silentMs: SILENCE_MS, timeoutMs: SILENCE_MS }]);
	assert.equal(w.of('onError')[0].kind, 'timeout');
	assert.equal(w.of('onClose')[0].reason, 'timeout');
	assert.equal(w.network.connections[0].isOpen, false);
	assert.equal(w.stream.stats().livenessFailures, 1);
	await w.clock.advance(1000);
	assert.equal(w.network.connections.length, 2);
	w.stream.stop();
});

test('any byte is life, even one that ends nothing', async () => {
	const w = await opened();
	for (let i = 0; i < 10; i++) {
		await w.clock.advance(30000);
		w.network.last.send('x');
		await w.settle();
	}
	assert.equal(w.stream.state, 'open');
	assert.equal(w.network.connections.length, 1);
	w.stream.stop();
});

test('before control.open 45 seconds count; readTimeoutMs counts always', async () => {
	const w = makeWorld();
	await w.start();
	await w.clock.advance(44999);
	assert.equal(w.stream.state, 'open');
	await w.clock.advance(1);
	assert.equal(w.stream.state, 'retrying');
	w.stream.stop();
	const v = await opened({ readTimeoutMs: 5000 });
	await v.clock.advance(5000);
	assert.equal(v.of('onLivenessFailure')[0].timeoutMs, 5000);
	v.stream.stop();
	const u = await opened({ readTimeoutMs: 0 });
	await u.clock.advance(86400000);
	assert.equal(u.stream.state, 'open');
	u.stream.stop();
});

test('the answer has a time limit, and the next request asks for padding', async () => {
	const w = makeWorld();
	w.network.answer = () => new Promise(() => {});
	await w.start();
	await w.clock.advance(30000);
	assert.equal(w.of('onError')[0].kind, 'timeout');
	assert.equal(w.stream.state, 'retrying');
	assert.deepEqual(w.of('onLivenessFailure'), [], 'no stream was open');
	assert.equal(w.network.last.init.signal.aborted, true);
	await w.clock.advance(1000);
	assert.equal(w.network.last.url.searchParams.get('padding'), '1');
	w.stream.stop();
});

test('padding can be asked for always, or never', async () => {
	const w = makeWorld();
	await w.start({ padding: true });
	assert.equal(w.network.last.url.searchParams.get('padding'), '1');
	w.stream.stop();
	w.network.answer = () => new Promise(() => {});
	await w.start({ padding: false });
	await w.clock.advance(31000);
	assert.equal(w.network.last.url.searchParams.has('padding'), false);
	w.stream.stop();
});

// ---- sleep and clocks -----------------------------------------------------------------

test('after a sleep, what waits in the socket saves the connection', async () => {
	const w = await opened();
	w.clock.sleep(3600000);
	await w.clock.advance(0);
	assert.equal(w.stream.state, 'open', 'a chance to read first');
	w.network.last.send(frame({ comment: 'hb', id: 41 }));
	await w.clock.advance(2000);
	assert.equal(w.stream.state, 'open');
	w.stream.stop();
});

test('after a sleep, two seconds of silence are death', async () => {
	const w = await opened();
	w.clock.sleep(3600000);
	await w.clock.advance(2000);
	assert.equal(w.of('onLivenessFailure')[0].cause, 'sleep');
	w.stream.stop();
});

test('a clock that is set back delays nothing for ever', async () => {
	const w = await opened();
	w.clock.set(-3600000);
	await w.clock.advance(2 * SILENCE_MS);
	assert.equal(w.of('onLivenessFailure')[0].cause, 'timeout');
	w.stream.stop();
});

test('one that is set forward is looked at like a sleep', async () => {
	const w = await opened();
	w.clock.set(3600000);
	await w.clock.advance(SILENCE_MS + 2000);
	assert.equal(w.of('onLivenessFailure')[0].cause, 'sleep');
	w.stream.stop();
});

// ---- what the page tells ----------------------------------------------------------------

test('visible again: a connection that was silent too long is looked at', async () => {
	const w = await opened();
	w.page.fire('visibilitychange');
	await w.clock.advance(0);
	assert.equal(w.stream.state, 'open');
	w.clock.sleep(SILENCE_MS);
	w.page.fire('visibilitychange');
	await w.clock.advance(2000);
	assert.equal(w.of('onLivenessFailure')[0].cause, 'sleep');
	w.stream.stop();
});

test('online and visible end the wait for the next attempt', async () => {
	for (const type of ['online', 'visibilitychange']) {
		const w = await opened({ retry: { initialDelayMs: 60000, jitter: 0 } });
		w.network.last.end();
		await w.settle();
		w.page.fire(type);
		await w.settle();
		assert.equal(w.network.connections.length, 2, type);
		assert.equal(w.stream.state, 'open');
		w.stream.stop();
	}
});

test('hidden ends no wait', async () => {
	const w = await opened({ retry: { initialDelayMs: 60000, jitter: 0 } });
	w.network.last.end();
	await w.settle();
	w.page.visibilityState = 'hidden';
	w.page.fire('visibilitychange');
	await w.settle();
	assert.equal(w.network.connections.length, 1);
	w.stream.stop();
});

test('online after offline makes a new connection: the old path is gone', async () => {
	const w = await opened();
	w.page.fire('online');
	await w.clock.advance(0);
	assert.equal(w.network.connections.length, 1, 'no offline before it');
	w.page.fire('offline');
	w.page.fire('online');
	await w.clock.advance(0);
	assert.equal(w.network.connections.length, 2);
	assert.equal(w.network.connections[0].isOpen, false);
	assert.equal(w.of('onClose')[0].reason, 'online');
	w.stream.stop();
});

test('the page cache: closed when it hides, open when it is shown', async () => {
	const w = makeLogWorld();
	await w.start();
	w.network.publish();
	await w.settle();
	w.page.fire('pagehide', { persisted: true });
	await w.clock.advance(600000);
	assert.equal(w.network.open.length, 0);
	assert.equal(w.clock.pending, 0, 'nothing that keeps the page awake');
	assert.deepEqual(w.of('onClose').map((c) => [c.reason, c.willReconnect,
		c.retryIn]), [['pagehide', true, null]]);
	w.network.publish();
	w.page.fire('pageshow', { persisted: false });
	await w.settle();
	assert.equal(w.network.open.length, 0, 'a first show is no return');
	w.page.fire('pageshow', { persisted: true });
	await w.settle();
	assert.deepEqual(w.ids(), ['1', '2']);
	w.stream.stop();
});

test('freeze closes, resume opens', async () => {
	const w = makeLogWorld();
	await w.start();
	w.page.fire('freeze');
	await w.settle();
	assert.equal(w.network.open.length, 0);
	w.network.publish();
	w.page.fire('resume');
	await w.settle();
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
});

test('a stream that has ended hears nothing of the page', async () => {
	const w = await opened();
	w.stream.stop();
	for (const type of ['online', 'pageshow', 'resume', 'visibilitychange',
		'pagehide', 'freeze'])
		w.page.fire(type, { persisted: true });
	await w.clock.advance(60000);
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.network.connections.length, 1);
});
