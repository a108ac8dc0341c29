// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from './sim/clock.js';
import { envelope, frame, openFrame } from './sim/server.js';
import { makeLogWorld, makeWorld } from './sim/setup.js';

test('an event that comes twice is given once, and told', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }) +
	    envelope(41, { prev: 40 }));
	await w.settle();
	assert.deepEqual(w.ids(), ['41']);
	const [told] = w.of('onDuplicate');
	assert.deepEqual([told.id, told.last, told.action, told.event.id],
	    ['41', 41, 'drop', '41']);
	assert.equal(w.stream.stats().duplicates, 1);
	w.stream.stop();
});

test('events without an id of their own are never repeats', async () => {
	const w = makeWorld();
	await w.start({ envelope: false });
	w.network.last.send(frame({ id: 1, data: 'a' }) + frame({ data: 'a' }) +
	    frame({ data: 'a' }));
	await w.settle();
	assert.equal(w.of('onEvent').length, 3);
	w.stream.stop();
});

test('an event that is older than the last one: by policy', async () => {
	for (const [outOfOrder, ids, told] of [[undefined, ['5'], ['drop']],
		['callback', ['5'], ['drop']], ['drop', ['5'], []],
		['accept', ['5', '3'], ['accept']]]) {
		const w = makeWorld();
		await w.start({ envelope: false, ...outOfOrder && { outOfOrder } });
		w.network.last.send(frame({ id: 5, data: 'a' }) +
		    frame({ id: 3, data: 'b' }));
		await w.settle();
		assert.deepEqual(w.ids(), ids);
		assert.deepEqual(w.of('onOutOfOrder').map((o) => o.action), told);
		assert.equal(w.stream.stats().outOfOrder, 1);
		if (told.length > 0)
			assert.deepEqual([w.of('onOutOfOrder')[0].id,
				w.of('onOutOfOrder')[0].last], ['3', 5]);
		w.stream.stop();
	}
});

test('ids that are no numbers are known again, and have no order', async () => {
	const w = makeWorld();
	await w.start({ envelope: false });
	w.network.last.send(['b', 'a', 'b', 'c'].map((id) =>
	    frame({ id, data: 'x' })).join(''));
	await w.settle();
	assert.deepEqual(w.ids(), ['b', 'a', 'c']);
	assert.deepEqual(w.of('onDuplicate').map((d) => d.id), ['b']);
	w.stream.stop();
});

// ---- a missing event -----------------------------------------------------------------

test('an event that was withheld is noticed at once, told and fetched', async () => {
	const w = makeLogWorld();
	let dropped = false;
	w.network.mangle = (text, e) => {
		if (e.id !== 3 || dropped)
			return text;
		dropped = true;
		return '';
	};
	await w.start();
	for (let i = 0; i < 5; i++)
		w.network.publish();
	await w.clock.advance(0);
	assert.deepEqual(w.ids(), ['1', '2', '3', '4', '5']);
	assert.deepEqual(w.of('onGap'), [{ source: 'prev', channel: 'a', after: 2,
		prev: 3, id: '4', attempt: 1, action: 'resume' }]);
	assert.equal(w.of('onEvent')[2].recovered, true);
	const { gaps, missing, recovered, duplicates } = w.stream.stats();
	assert.deepEqual([gaps, missing, recovered, duplicates], [1, 1, 1, 0]);
	assert.deepEqual(w.of('onClose').map((c) => [c.reason, c.retryIn]),
	    [['gap', 0]]);
	w.stream.stop();
});

test('the first event of a channel may be the missing one', async () => {
	const w = makeLogWorld();
	let n = 0;
	w.network.mangle = (text, e) => (e.id === 1 && n++ === 0 ? '' : text);
	await w.start();
	w.network.publish();
	w.network.publish();
	await w.clock.advance(0);
	assert.deepEqual(w.ids(), ['1', '2']);
	w.stream.stop();
});

test('a hole is found after heartbeats and a reconnect, too', async () => {
	const w = makeLogWorld();
	let n = 0;
	w.network.mangle = (text, e) => (e.id === 2 && n++ === 0 ? '' : text);
	await w.start();
	w.network.publish();
	w.network.publish();
	w.network.heartbeat();
	await w.settle();
	assert.equal(w.stream.lastEventId, '2', 'the heartbeat says so');
	w.network.closeAll();
	await w.clock.advance(3000);
	w.network.publish();
	await w.clock.advance(0);
	assert.deepEqual(w.ids(), ['1', '2', '3']);
	w.stream.stop();
});

test('with several channels only the missing event comes late', async () => {
	const w = makeLogWorld();
	let n = 0;
	w.network.mangle = (text, e) => (e.id === 2 && n++ === 0 ? '' : text);
	await w.start({ channels: ['a', 'b'] });
	for (const channel of ['a', 'b', 'a', 'a', 'b'])
		w.network.publish(channel);
	await w.clock.advance(0);
	assert.deepEqual(w.ids(), ['1', '3', '4', '2', '5']);
	assert.deepEqual(w.of('onDuplicate'), [], 'what is asked for again is ' +
	    'no surprise');
	assert.deepEqual(w.of('onOutOfOrder'), []);
	w.stream.stop();
});

test('channels that are not followed leave no holes', async () => {
	const w = makeLogWorld();
	await w.start({ channels: ['a'] });
	for (const channel of ['a', 'b', 'b', 'a', 'b', 'a'])
		w.network.publish(channel);
	await w.settle();
	assert.deepEqual(w.ids(), ['1', '4', '6']);
	assert.deepEqual(w.of('onGap'), []);
	w.stream.stop();
});

test('a hole that cannot be filled is accepted after two attempts', async () => {
	const w = makeLogWorld();
	w.network.mangle = (text, e) => (e.id === 2 ? '' : text);
	await w.start();
	for (let i = 0; i < 3; i++)
		w.network.publish();
	await w.clock.advance(0);
	await w.clock.advance(0);
	assert.deepEqual(w.of('onGap').map((g) => [g.attempt, g.action]),
	    [[1, 'resume'], [2, 'resume'], [3, 'give_up']]);
	assert.deepEqual(w.ids(), ['1', '3']);
	assert.equal(w.stream.state, 'open');
	assert.equal(w.network.connections.length, 3);
	w.network.publish();
	await w.settle();
	assert.deepEqual(w.ids(), ['1', '3', '4']);
	w.stream.stop();
});

test('retention in the middle of a stream is no hole to repair', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }) + frame({ id: 90,
		event: 'control.gap', data: JSON.stringify({ requested: 41,
			oldest: 91, newest: 99, lost: 49, code: 'expired' }) }) +
	    envelope(91, { prev: 90 }) + envelope(92));
	await w.settle();
	assert.deepEqual(w.ids(), ['41', '91', '92']);
	assert.deepEqual(w.of('onGap').map((g) => g.source), ['server']);
	w.stream.stop();
});

test('with a filter by type prev proves nothing, and is not used', async () => {
	const w = makeWorld();
	await w.start({ events: ['created'] });
	w.network.last.send(openFrame() + envelope(50, { prev: 49 }) +
	    envelope(60, { prev: 59 }));
	await w.settle();
	assert.deepEqual(w.ids(), ['50', '60']);
	assert.deepEqual(w.of('onGap'), []);
	w.stream.stop();
});

test('stopping in onGap stops', async () => {
	const w = makeWorld();
	await w.start({ onGap: () => w.stream.stop() });
	w.network.last.send(openFrame() + envelope(43, { prev: 42 }));
	await w.clock.advance(60000);
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.network.connections.length, 1);
});

// ---- any accident ------------------------------------------------------------------------

/** Cuts connections, drops and holds events, trims nothing; ends in peace. */
async function accidents(seed) {
	const random = seeded(seed);
	const w = makeLogWorld({ seed });
	const channels = ['a', 'b', 'c'].slice(0, 1 + Math.floor(random() * 3));
	let calm = false;
	w.network.mangle = (text, e, c) => {
		const luck = calm ? 1 : random();
		if (luck < 0.03)
			return '';
		if (luck < 0.06) {
			c.send(text.slice(0, Math.floor(random() * text.length)));
			c.fail();
			return '';
		}
		return luck < 0.09 ? text + text : text;
	};
	await w.start({ channels, retry: { initialDelayMs: 200, maxDelayMs: 2000 } });
	for (let i = 0; i < 120; i++) {
		w.network.publish(channels[Math.floor(random() * channels.length)]);
		const luck = random();
		if (luck < 0.05)
			w.network.closeAll(luck < 0.02);
		else if (luck < 0.1)
			w.network.heartbeat();
		else if (luck < 0.12)
			w.stream.restart();
		else if (luck < 0.14)
			w.page.fire('pagehide');
		if (luck > 0.13 && luck < 0.3)
			w.page.fire('pageshow', { persisted: true });
		if (random() < 0.3)
			await w.clock.advance(Math.floor(random() * 3000));
	}
	calm = true;
	w.page.fire('pageshow', { persisted: true });
	for (const channel of channels)
		w.network.publish(channel);
	for (let i = 0; i < 5; i++)
		await w.clock.advance(10000);
	w.stream.stop();
	return { w, channels };
}

test('whatever happens to connections, each event comes once, in order', async () => {
	for (let seed = 1; seed <= 60; seed++) {
		const { w, channels } = await accidents(seed);
		const expected = w.network.events.map((e) => e.id);
		const got = w.of('onEvent').map((e) => Number(e.id));
		assert.deepEqual([...got].sort((a, b) => a - b), expected,
		    `seed ${seed}: each once`);
		for (const channel of channels) {
			const ids = w.of('onEvent').filter((e) => e.channel === channel)
			    .map((e) => Number(e.id));
			assert.deepEqual(ids, [...ids].sort((a, b) => a - b),
			    `seed ${seed}: ${channel} in order`);
		}
		const late = w.of('onEvent').filter((e, i, all) => i > 0 &&
		    Number(e.id) < Number(all[i - 1].id));
		assert.ok(late.every((e) => e.recovered), `seed ${seed}: only what ` +
		    'was recovered is late');
	}
});

test('memory stays bounded: books of 100 after 20,000 events', async () => {
	const w = makeWorld();
	let n = 0;
	await w.start({ dedupeSize: 100, onEvent: () => { n++; },
		envelope: false });
	w.log = [];
	for (let i = 1; i <= 20000; i += 100)
		w.network.last.send(Array.from({ length: 100 }, (_, k) =>
		    frame({ id: i + k, data: 'x' })).join(''));
	await w.settle(300);
	assert.equal(n, 20000);
	assert.equal(w.stream.stats().waiting, 0);
	w.stream.stop();
});
