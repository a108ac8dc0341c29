// SPDX-License-Identifier: MIT
//
// Tokens: when one is asked for, where it goes, and what the server's refusals
// and ends mean for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld } from './sim/setup.js';

const FAST = { initialDelayMs: 10, jitter: 0 };

const closeFrame = (reason, retry_ms = 100) => frame({ event: 'control.close',
	data: JSON.stringify({ reason, retry_ms }) });

const refusal = (status, detail) => new Response(JSON.stringify(
    { type: 'about:blank', title: 'No', status, detail }),
{ status, headers: { 'content-type': 'application/problem+json' } });

const sent = (w) => w.network.connections.map((c) =>
    c.headers.get('authorization'));

/** Tokens t1, t2, ... */
const series = () => {
	let n = 0;
	return async () => `t${++n}`;
};

function close(w, reason) {
	w.network.last.send(closeFrame(reason));
	w.network.closeAll?.();
	w.network.last.end();
}

test('names with @ % ~ + = go out so that they come in as they are', async () => {
	const w = makeWorld();
	const channels = ['user.a@b.c', '100%25', '~x', 'a+b', 'k=v', 'a+b.*'];
	await w.start({ channels });
	const { url } = w.network.last;
	assert.deepEqual(url.searchParams.getAll('channel'), channels);
	assert.match(url.search, /channel=100%2525&channel=%7Ex&channel=a%2Bb&channel=k%3Dv/);
	w.stream.stop();
});

test('a token is kept over connections and is in no address', async () => {
	const w = makeLogWorld();
	await w.start({ token: series(), retry: FAST });
	w.network.publish();
	await w.settle();
	for (const reason of ['drain', 'max_age', 'overload', 'lagging']) {
		close(w, reason);
		await w.clock.advance(5000);
	}
	assert.deepEqual(sent(w), Array(5).fill('Bearer t1'));
	for (const { url } of w.network.connections)
		assert.doesNotMatch(url.href, /t1/);
	w.stream.stop();
});

test('an expired one: a fresh one, and nothing is lost or doubled', async () => {
	const w = makeLogWorld();
	await w.start({ token: series(), retry: FAST });
	for (let round = 0; round < 4; round++) {
		w.network.publish();
		await w.settle();
		close(w, 'auth_expired');
		w.network.publish();
		await w.clock.advance(1000);
	}
	assert.deepEqual(sent(w), ['t1', 't2', 't3', 't4', 't5'].map((t) =>
	    `Bearer ${t}`));
	assert.deepEqual(w.ids(), ['1', '2', '3', '4', '5', '6', '7', '8']);
	assert.deepEqual(w.of('onClose').map((c) => c.reason),
	    Array(4).fill('auth_expired'));
	assert.deepEqual([...w.of('onError'), ...w.of('onGap'),
		...w.of('onDuplicate')], []);
	w.stream.stop();
});

test('one that is expired when it comes is asked for with growing delays',
    async () => {
	const w = makeWorld();
	w.network.answer = (c) => {
		c.send(closeFrame('auth_expired'));
		c.end();
		return w.network.stream(c);
	};
	await w.start({ token: series(), retry: { jitter: 0 } });
	await w.clock.advance(60000);
	const delays = w.of('onRetry').map((r) => r.retryIn);
	assert.deepEqual(delays.slice(0, 4), [1100, 2100, 4100, 8100]);
	assert.equal(new Set(sent(w)).size, sent(w).length);
	w.stream.stop();
});

test('a token that is a string cannot be renewed: final', async () => {
	const w = makeWorld();
	await w.start({ token: 'x' });
	w.network.last.send(openFrame());
	close(w, 'auth_expired');
	await w.settle();
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.of('onError')[0].kind, 'auth_expired');
	assert.equal(w.of('onError')[0].fatal, true);
});

test('without a token a cookie may have been renewed: it comes back', async () => {
	const w = makeWorld();
	await w.start({ retry: FAST });
	close(w, 'auth_expired');
	await w.clock.advance(1000);
	assert.equal(w.stream.state, 'open');
	assert.deepEqual(sent(w), [null, null]);
	w.stream.stop();
});

test('revoked: once more with a fresh token, then final', async () => {
	const w = makeWorld();
	await w.start({ token: series(), retry: FAST });
	close(w, 'revoked');
	await w.clock.advance(200);
	assert.equal(w.stream.state, 'open');
	close(w, 'revoked');
	await w.clock.advance(200);
	assert.equal(w.stream.state, 'closed');
	assert.deepEqual(sent(w), ['Bearer t1', 'Bearer t2']);
	assert.deepEqual(w.of('onError').map((e) => [e.kind, e.fatal]),
	    [['revoked', true]]);
});

test('a stream that lasted makes the next revocation a new one', async () => {
	const w = makeWorld();
	await w.start({ token: series(), retry: FAST });
	for (let n = 0; n < 3; n++) {
		await w.clock.advance(6000);
		close(w, 'revoked');
		await w.clock.advance(200);
		assert.equal(w.stream.state, 'open');
	}
	w.stream.stop();
});

test('a refused key: a fresh token once, and the error says why', async () => {
	const w = makeWorld();
	w.network.answer = () => refusal(401, 'The token is not good.');
	await w.start({ token: series(), retry: FAST });
	await w.clock.advance(1000);
	assert.deepEqual(sent(w), ['Bearer t1', 'Bearer t2']);
	const error = w.of('onError').at(-1);
	assert.equal(error.message,
	    'the server answered 401: The token is not good.');
	assert.deepEqual([error.fatal, error.status, error.problem.detail],
	    [true, 401, 'The token is not good.']);
});

test('403 is final and names the channel', async () => {
	const w = makeWorld();
	w.network.answer = () => refusal(403, 'The channel "a" is not open to you.');
	await w.start({ token: series(), retry: FAST });
	await w.clock.advance(1000);
	assert.deepEqual(sent(w), ['Bearer t1']);
	assert.equal(w.stream.state, 'closed');
	assert.match(w.of('onError')[0].message, /403: The channel "a"/);
});

test('a refusal that explains nothing, or nonsense, is one all the same',
    async () => {
	for (const text of ['', '{', 'null', '7', '{"detail":""}']) {
		const w = makeWorld();
		w.network.answer = () => new Response(text, { status: 403,
			headers: { 'content-type': 'application/problem+json' } });
		await w.start();
		assert.equal(w.stream.state, 'closed', text);
		assert.equal(w.of('onError')[0].message, 'the server answered 403');
	}
});

test('a function that fails is asked again with growing delays', async () => {
	const w = makeWorld();
	let n = 0;
	await w.start({ retry: { jitter: 0 }, token: async () => {
		if (++n < 4)
			throw new Error(`no ${n}`);
		return 'good';
	} });
	await w.clock.advance(1000 + 2000 + 4000);
	assert.deepEqual(w.of('onError').map((e) => [e.kind, e.message, e.fatal]),
	    [1, 2, 3].map((i) => ['token', `token failed: no ${i}`, false]));
	assert.deepEqual(w.of('onRetry').map((r) => r.retryIn),
	    [1000, 2000, 4000]);
	assert.deepEqual(sent(w), ['Bearer good']);
	w.stream.stop();
});

test('a function that never answers is asked again after connectTimeoutMs',
    async () => {
	const w = makeWorld();
	let n = 0;
	await w.start({ connectTimeoutMs: 1000, retry: FAST,
		token: () => (++n === 1 ? new Promise(() => {}) : 'good') });
	await w.clock.advance(2000);
	assert.equal(w.of('onError')[0].kind, 'timeout');
	assert.deepEqual(sent(w), ['Bearer good']);
	w.stream.stop();
});

test('what is no token is not sent, and no error says it', async () => {
	for (const bad of ['secret\n', 'sec ret', 'secret"', 'sécret']) {
		const w = makeWorld();
		await w.start({ token: () => bad });
		assert.equal(w.network.connections.length, 0);
		const [error] = w.of('onError');
		assert.equal(error.kind, 'token');
		assert.doesNotMatch(`${error.message} ${error.cause}`, /cret/);
		w.stream.stop();
	}
});

test('restart() asks anew: another user may have signed in', async () => {
	const w = makeWorld();
	await w.start({ token: series() });
	w.stream.restart();
	await w.clock.advance(10);
	assert.deepEqual(sent(w), ['Bearer t1', 'Bearer t2']);
	w.stream.stop();
	w.stream.connect();
	await w.settle();
	assert.equal(sent(w)[2], 'Bearer t3');
	w.stream.stop();
});

test('no token is nobody', async () => {
	const w = makeWorld();
	await w.start({ token: async () => null });
	assert.deepEqual(sent(w), [null]);
	w.stream.stop();
});

test('one that comes too late does not replace a newer one', async () => {
	const w = makeWorld();
	let late;
	let n = 0;
	await w.start({ retry: FAST, token: () => (++n === 1
		? new Promise((resolve) => { late = resolve; }) : `t${n}`) });
	w.stream.restart();
	await w.clock.advance(10);
	late('old');
	await w.settle();
	w.network.last.end();
	await w.clock.advance(1000);
	assert.deepEqual(sent(w), ['Bearer t2', 'Bearer t2']);
	w.stream.stop();
});
