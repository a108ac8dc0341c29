// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { envelope, frame, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld } from './sim/setup.js';

class Area {
	items = new Map();
	getItem(key) { return this.items.get(key) ?? null; }
	setItem(key, value) { this.items.set(key, value); }
	removeItem(key) { this.items.delete(key); }
}

test('without an id it is live from now, and resumes from control.open', async () => {
	const w = makeLogWorld();
	w.network.publish();
	await w.start();
	assert.deepEqual(w.ids(), []);
	assert.equal(w.stream.lastEventId, '1');
	w.network.closeAll();
	w.network.publish();
	await w.clock.advance(3000);
	assert.deepEqual(w.ids(), ['2']);
	w.stream.stop();
});

test('lastEventId is where it begins; earliest means all', async () => {
	const w = makeWorld();
	await w.start({ lastEventId: 17 });
	assert.equal(w.network.last.lastEventId, '17');
	w.stream.stop();
	await w.start({ lastEventId: 'earliest' });
	assert.equal(w.network.last.lastEventId, 'earliest');
	w.stream.stop();
});

test('`last` counts only as long as there is no position', async () => {
	const w = makeWorld();
	await w.start({ last: 10 });
	assert.equal(w.network.last.url.searchParams.get('last'), '10');
	w.network.last.send(openFrame());
	await w.settle();
	w.stream.restart();
	await w.clock.advance(0);
	assert.equal(w.network.last.url.searchParams.has('last'), false);
	w.stream.stop();
});

test('generation goes along from the first control.open on', async () => {
	const w = makeWorld();
	await w.start();
	assert.equal(w.network.last.url.searchParams.has('generation'), false);
	w.network.last.send(openFrame());
	await w.settle();
	w.stream.restart();
	await w.clock.advance(0);
	assert.equal(w.network.last.url.searchParams.get('generation'), 'g1');
	w.stream.stop();
});

test('a position without an event moves it too', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + frame({ comment: 'hb', id: 99 }));
	await w.settle();
	assert.equal(w.stream.lastEventId, '99');
	assert.equal(w.stream.stats().handledEventId, '99');
	w.stream.stop();
});

test('localStorage keeps it from page to page, with the generation', async () => {
	for (const storage of ['local', 'session']) {
		const w = makeLogWorld();
		const area = new Area();
		const env = { [`${storage}Storage`]: area };
		await w.start({ storage, env });
		w.network.publish();
		await w.settle();
		w.stream.stop();
		w.network.publish();
		assert.deepEqual([...area.items], [
			['walcast:https://example.org/sse.fcgi?a',
				'{"id":"1","generation":"g1"}']]);
		await w.start({ storage, env });
		assert.deepEqual(w.ids(), ['1', '2']);
		assert.equal(w.network.last.url.searchParams.get('generation'), 'g1');
		w.stream.stop();
	}
});

test('the key of the store names no secret of the address', async () => {
	const w = makeWorld();
	const area = new Area();
	const { WalcastStream } = await import('./sim/setup.js');
	const stream = new WalcastStream(
	    'https://example.org/s?token=secret&channel=a',
	    { storage: 'local', env: { ...w.env, localStorage: area } });
	stream.addEventListener('message', () => {});
	stream.connect();
	await w.settle();
	w.network.last.send(openFrame());
	await w.settle();
	assert.deepEqual([...area.items.keys()],
	    ['walcast:https://example.org/s?a']);
	stream.stop();
});

test('an id that the page gives counts before the one that was kept', async () => {
	const w = makeLogWorld();
	const area = new Area();
	const env = { localStorage: area };
	area.setItem('k', '{"id":"1","generation":"g1"}');
	for (let i = 0; i < 5; i++)
		w.network.publish();
	await w.start({ storage: 'local', storageKey: 'k', lastEventId: 4, env });
	assert.deepEqual(w.ids(), ['5']);
	w.stream.stop();
});

test('it is stored when the handler has returned, not before', async () => {
	const w = makeLogWorld();
	const calls = [];
	const storage = {
		load: async () => ({ id: '0', generation: 'g1' }),
		save: ({ id }) => calls.push(`saved ${id}`),
		clear: () => calls.push('cleared'),
	};
	w.network.publish();
	w.network.publish();
	await w.start({ storage, onEvent: (e) => { calls.push(`handled ${e.id}`); } });
	assert.deepEqual(calls, ['handled 1', 'saved 1', 'handled 2', 'saved 2']);
	w.stream.stop();
});

test('with `sequential`, when its promise is fulfilled; the next event waits', async () => {
	const w = makeLogWorld();
	const calls = [];
	const done = [];
	const storage = { load: () => null, clear() {},
		save: ({ id }) => calls.push(`saved ${id}`) };
	await w.start({ storage, sequential: true, onEvent: (e) => {
		calls.push(`begun ${e.id}`);
		return new Promise((resolve) => done.push(resolve));
	} });
	w.network.publish();
	w.network.publish();
	await w.settle();
	assert.deepEqual(calls, ['saved 0', 'begun 1']);
	done.shift()();
	await w.settle();
	assert.deepEqual(calls, ['saved 0', 'begun 1', 'saved 1', 'begun 2']);
	w.stream.stop();
	done.shift()();
	await w.settle();
	assert.deepEqual(calls.at(-1), 'begun 2', 'stopped before it was handled');
	w.stream.connect();
	await w.settle();
	assert.deepEqual(calls.at(-1), 'begun 2');
	assert.equal(calls.filter((c) => c === 'begun 2').length, 2);
	w.stream.stop();
});

test('a store that fails is reported, and the stream goes on', async () => {
	const broken = () => { throw new Error('quota'); };
	for (const storage of [{ load: broken, save: broken, clear: broken },
		{ load: async () => broken(), save: async () => broken(),
			clear: async () => broken() }]) {
		const w = makeLogWorld();
		await w.start({ storage });
		w.network.publish();
		await w.settle();
		assert.deepEqual(w.ids(), ['1']);
		assert.deepEqual(new Set(w.of('onError').map((e) => e.kind)),
		    new Set(['storage']));
		w.stream.stop();
	}
});

test('a site that may not use localStorage costs the position only', async (t) => {
	const w = makeLogWorld();
	Object.defineProperty(globalThis, 'localStorage', { configurable: true,
		get() { throw new Error('denied'); } });
	t.after(() => delete globalThis.localStorage);
	await w.start({ storage: 'local' });
	assert.equal(w.of('onError')[0].kind, 'storage');
	w.network.publish();
	await w.settle();
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
});

// ---- what cannot be resumed --------------------------------------------------------

async function afterRetention(options) {
	const w = makeLogWorld();
	await w.start(options);
	w.network.publish();
	await w.settle();
	w.network.closeAll();
	for (let i = 0; i < 9; i++)
		w.network.publish();
	w.network.trim(8);
	await w.clock.advance(3000);
	return w;
}

const EXPIRED = { requested: 1, oldest: 8, newest: 10, code: 'expired', lost: 6,
	id: '7', generation: 'g1' };

test('retention: continue goes on from the oldest, with the numbers', async () => {
	const w = await afterRetention();
	assert.deepEqual(w.of('onCannotResume'),
	    [{ ...EXPIRED, policy: 'continue' }]);
	assert.deepEqual(w.of('onGap'), [{ source: 'server', requested: 1, oldest: 8,
		newest: 10, lost: 6, code: 'expired', id: '7' }]);
	assert.deepEqual(w.ids(), ['1', '8', '9', '10']);
	const { gaps, missing } = w.stream.stats();
	assert.deepEqual([gaps, missing], [1, 6]);
	w.network.closeAll();
	await w.clock.advance(3000);
	assert.equal(w.of('onCannotResume').length, 1, 'it is told once');
	w.stream.stop();
});

test('retention: start_fresh goes on live', async () => {
	const w = await afterRetention({ cannotResume: 'start_fresh' });
	assert.deepEqual(w.of('onCannotResume'),
	    [{ ...EXPIRED, policy: 'start_fresh' }]);
	assert.deepEqual(w.ids(), ['1']);
	assert.equal(w.network.last.lastEventId, '');
	w.network.publish();
	await w.settle();
	assert.deepEqual(w.ids(), ['1', '11']);
	w.stream.stop();
});

test('retention: close ends it', async () => {
	const w = await afterRetention({ cannotResume: 'close' });
	assert.deepEqual(w.of('onCannotResume'), [{ ...EXPIRED, policy: 'close' }]);
	assert.equal(w.of('onClose').at(-1).reason, 'cannot_resume');
	assert.equal(w.of('onError').at(-1).kind, 'cannot_resume');
	assert.deepEqual(w.ids(), ['1']);
	assert.equal(w.network.open.length, 0);
});

test('retention: callback decides by what it returns', async () => {
	for (const [answer, ids] of [['continue', ['1', '8', '9', '10']],
		['start_fresh', ['1']], ['close', ['1']], [undefined,
			['1', '8', '9', '10']]]) {
		const w = await afterRetention({ cannotResume: 'callback',
			onCannotResume: () => answer });
		assert.deepEqual(w.ids(), ids, answer);
		assert.equal(w.stream.state, answer === 'close' ? 'closed' : 'open');
		w.stream.stop();
	}
});

test('the handler may stop it, whatever the policy says', async () => {
	for (const cannotResume of ['continue', 'start_fresh', 'close']) {
		const w = makeLogWorld();
		await w.start({ cannotResume, onCannotResume: () => w.stream.stop() });
		w.network.publish();
		await w.settle();
		w.network.closeAll();
		w.network.recreate('g2');
		await w.clock.advance(3000);
		assert.equal(w.stream.state, 'closed');
		assert.equal(w.of('onClose').at(-1).reason, 'stopped');
		assert.equal(w.network.open.length, 0);
		assert.equal(w.clock.pending, 0);
	}
});

test('a log that was made anew: its low ids are new events', async () => {
	const w = makeLogWorld();
	await w.start();
	for (let i = 0; i < 5; i++)
		w.network.publish();
	await w.settle();
	w.network.closeAll();
	w.network.recreate('g2');
	w.network.publish('a', 'anew');
	await w.clock.advance(3000);
	assert.deepEqual(w.ids(), ['1', '2', '3', '4', '5', '1']);
	const [told] = w.of('onCannotResume');
	assert.deepEqual([told.code, told.requested, told.oldest, told.newest,
		told.lost, told.generation], ['generation', 5, 1, 1, 0, 'g2']);
	assert.equal(w.stream.generation, 'g2');
	w.network.closeAll();
	w.network.publish();
	await w.clock.advance(3000);
	assert.deepEqual(w.ids().slice(-1), ['2']);
	assert.equal(w.of('onCannotResume').length, 1);
	w.stream.stop();
});

test('a kept position of an older log is noticed by the next page', async () => {
	const w = makeLogWorld();
	w.network.generation = 'g2';
	for (let i = 0; i < 9; i++)
		w.network.publish();
	await w.start({ storage: { load: () => ({ id: '5', generation: 'g1' }),
		save() {}, clear() {} } });
	assert.equal(w.of('onCannotResume')[0].code, 'generation');
	assert.equal(w.ids().length, 9);
	w.stream.stop();
});

test('another generation in control.open voids the books, also without a gap', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }));
	await w.settle();
	w.network.last.end();
	await w.clock.advance(3000);
	w.network.last.send(openFrame({ generation: 'g2' }, 2) +
	    envelope(3, { prev: 2 }));
	await w.settle();
	assert.deepEqual(w.ids(), ['41', '3']);
	assert.equal(w.stream.generation, 'g2');
	w.stream.stop();
});

test('100 quiet reconnects give no alarm and no event twice', async () => {
	const w = makeLogWorld();
	await w.start();
	for (let i = 0; i < 100; i++) {
		if (i % 3 === 0)
			w.network.publish();
		if (i % 4 === 0)
			w.network.heartbeat();
		await w.settle();
		w.network.closeAll(i % 2 === 0);
		await w.clock.advance(30000);
	}
	for (const name of ['onCannotResume', 'onGap', 'onDuplicate', 'onOutOfOrder'])
		assert.deepEqual(w.of(name), [], name);
	assert.deepEqual(w.ids(), Array.from({ length: 34 }, (_, i) => `${i + 1}`));
	assert.equal(w.stream.stats().reconnects, 100);
	w.stream.stop();
});

test('startFresh forgets the position, also in the store', async () => {
	const w = makeLogWorld();
	const area = new Area();
	await w.start({ storage: 'local', env: { localStorage: area } });
	w.network.publish();
	await w.settle();
	w.network.closeAll();
	w.network.publish();
	w.stream.startFresh();
	assert.equal(area.items.size, 0);
	await w.clock.advance(5);
	assert.equal(w.network.last.lastEventId, '');
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
});

test('an empty id from the server means no position', async () => {
	const w = makeWorld();
	await w.start({ envelope: false });
	w.network.last.send(frame({ id: 5, data: 'x' }) + 'id\ndata: y\n\n');
	await w.settle();
	assert.equal(w.stream.lastEventId, '');
	assert.deepEqual(w.ids(), ['5', '']);
	w.stream.stop();
});

test('an event that was cut off is asked for again', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }).slice(0, -1));
	await w.settle();
	w.network.last.end();
	await w.clock.advance(3000);
	assert.equal(w.network.last.lastEventId, '40');
	w.stream.stop();
});
