// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld } from './sim/setup.js';

const QUIET = { without: ['onEvent'] };

test('for await gives each event, in order, and stops the stream when left', async () => {
	const w = makeLogWorld();
	const stream = w.make(QUIET);
	const ids = [];
	const loop = (async () => {
		for await (const event of stream) {
			ids.push(event.id);
			if (ids.length === 3)
				break;
		}
	})();
	await w.settle();
	for (let i = 0; i < 5; i++)
		w.network.publish();
	await loop;
	assert.deepEqual(ids, ['1', '2', '3']);
	assert.equal(stream.state, 'closed');
	assert.equal(stream.stats().handledEventId, '2',
	    'an event counts as handled when the next one is asked for');
});

test('events wait for the first one who takes them', async () => {
	const w = makeLogWorld();
	await w.start(QUIET);
	w.network.publish();
	w.network.publish();
	await w.settle();
	w.network.heartbeat();
	w.network.heartbeat();
	await w.settle();
	assert.equal(w.stream.stats().waiting, 4, 'a position, two events, a position');
	const ids = [];
	w.stream.addEventListener('message', (e) => ids.push(e.id));
	assert.deepEqual(ids, ['1', '2']);
	w.stream.stop();
});

test('stop ends the loop', async () => {
	const w = makeLogWorld();
	const stream = w.make(QUIET);
	const loop = (async () => {
		for await (const event of stream)
			assert.fail(event.id);
	})();
	await w.settle();
	stream.stop();
	await loop;
});

test('what ends the stream for good is thrown, after what was left', async () => {
	const w = makeLogWorld();
	const stream = w.make({ ...QUIET, retry: 'none' });
	const ids = [];
	const loop = (async () => {
		for await (const event of stream) {
			ids.push(event.id);
			await w.settle();
		}
	})();
	await w.settle();
	for (let i = 0; i < 3; i++)
		w.network.publish();
	w.network.closeAll();
	await assert.rejects(loop, { kind: 'gave_up' });
	assert.deepEqual(ids, ['1', '2', '3']);
});

test('204 ends the loop without an error', async () => {
	const w = makeWorld();
	w.network.answer = () => new Response(null, { status: 204 });
	for await (const event of w.make(QUIET))
		assert.fail(event.id);
});

test('one loop at a time', async () => {
	const w = makeLogWorld();
	const stream = w.make(QUIET);
	const first = stream[Symbol.asyncIterator]();
	const pending = first.next();
	await assert.rejects(stream[Symbol.asyncIterator]().next(), /another loop/);
	assert.notEqual(stream.state, 'closed');
	stream.stop();
	assert.equal((await pending).done, true);
});

test('a slow loop stops the reading: the buffer is bounded, and none is lost', async () => {
	const w = makeWorld();
	const stream = w.make({ ...QUIET, bufferSize: 10, envelope: false });
	const iterator = stream[Symbol.asyncIterator]();
	const first = iterator.next();
	await w.settle();
	for (let i = 1; i <= 500; i++)
		w.network.last.send(frame({ id: i, data: 'x' }));
	await w.settle(50);
	assert.ok(stream.stats().waiting <= 12, stream.stats().waiting);
	await w.clock.advance(600000);
	assert.equal(stream.state, 'open', 'who does not read cannot call it dead');
	const ids = [(await first).value.id];
	for (let i = 1; i < 500; i++)
		ids.push((await iterator.next()).value.id);
	assert.deepEqual(ids, Array.from({ length: 500 }, (_, i) => `${i + 1}`));
	await iterator.return();
	assert.equal(w.network.connections.length, 1);
});

test('after a pause silence counts again', async () => {
	const w = makeWorld();
	const stream = w.make({ ...QUIET, bufferSize: 2, envelope: false });
	const iterator = stream[Symbol.asyncIterator]();
	const first = iterator.next();
	await w.settle();
	for (let i = 1; i <= 6; i++)
		w.network.last.send(frame({ id: i, data: 'x' }));
	await w.settle(30);
	await first;
	for (let i = 1; i < 6; i++)
		await iterator.next();
	await w.clock.advance(45000);
	assert.equal(stream.state, 'retrying');
	stream.stop();
});

test('sequential handlers bound it in the same way', async () => {
	const w = makeWorld();
	const done = [];
	await w.start({ bufferSize: 5, sequential: true, envelope: false,
		onEvent: () => new Promise((resolve) => done.push(resolve)) });
	w.network.last.send(openFrame());
	for (let i = 41; i <= 140; i++)
		w.network.last.send(frame({ id: i, data: 'x' }));
	await w.settle(30);
	assert.ok(w.stream.stats().waiting <= 7);
	while (w.ids().length < 100) {
		done.shift()();
		await w.settle(3);
	}
	assert.equal(new Set(w.ids()).size, 100);
	w.stream.stop();
});
