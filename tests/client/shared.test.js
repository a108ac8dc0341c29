// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock, seeded, settle } from './sim/clock.js';
import { LogServer } from './sim/server.js';
import { Site } from './sim/tabs.js';

const STEADY = { heartbeatMs: 3600000 };

function makeSite(options) {
	const clock = new Clock();
	const network = Object.assign(new LogServer(clock), STEADY);
	const site = new Site(clock, network, options);
	return { clock, network, site };
}

const upTo = (n, from = 1) => Array.from({ length: n - from + 1 },
    (_, i) => i + from);

test('three tabs, one connection, each event in each tab', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open(), site.open()];
	await settle();
	for (let i = 0; i < 10; i++)
		network.publish();
	await settle();
	assert.equal(network.served, 1);
	for (const tab of tabs) {
		assert.deepEqual(tab.ids(), upTo(10));
		assert.equal(tab.stream.state, 'open');
		assert.equal(tab.stream.generation, 'g1');
		assert.equal(tab.of('onControl')[0].type, 'control.open');
	}
	await clock.advance(10000);
	assert.equal(site.leader, tabs[0], 'who was answered steals nothing');
	assert.equal(network.served, 1);
	tabs.forEach((tab) => tab.stream.stop());
	await settle();
	assert.equal(network.open.length, 0);
	assert.equal(site.openChannels, 0);
	assert.deepEqual(site.locks.holders, []);
	assert.equal(clock.pending, 0);
});

test('tabs with other channels, or another name, share nothing', async () => {
	const { network, site } = makeSite();
	site.open();
	site.open({ channels: ['b'] });
	site.open({ shared: 'user-2' });
	await settle();
	assert.equal(network.served, 3);
	site.tabs.forEach((tab) => tab.stream.stop());
});

test('heartbeats and positions reach all tabs', async () => {
	const { network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	network.publish('b');
	network.heartbeat();
	await settle();
	for (const tab of tabs) {
		assert.equal(tab.stream.lastEventId, '1');
		assert.equal(tab.of('onHeartbeat').length, 1);
	}
	tabs.forEach((tab) => tab.stream.stop());
});

test('the leader closes: another one goes on, with nothing lost or twice', async () => {
	const { network, site } = makeSite();
	const tabs = [site.open(), site.open(), site.open()];
	await settle();
	network.publish();
	await settle();
	tabs[0].stream.stop();
	network.publish();
	await settle();
	network.publish();
	await settle();
	assert.equal(network.served, 2);
	assert.equal(network.open.length, 1);
	assert.deepEqual(tabs[1].ids(), [1, 2, 3]);
	assert.deepEqual(tabs[2].ids(), [1, 2, 3]);
	assert.equal(tabs[2].stream.state, 'open');
	assert.deepEqual(tabs[2].of('onClose'), [], 'the others do not notice');
	tabs.forEach((tab) => tab.stream.stop());
});

test('the leader is killed ten times: no tab misses or repeats an event', async () => {
	const { clock, network, site } = makeSite();
	const all = [];
	for (let round = 0; round < 10; round++) {
		while (site.tabs.length < 3) {
			const tab = site.open();
			await clock.advance(10);
			all.push({ tab, from: network.head + 1 });
		}
		for (let i = 0; i < 5; i++) {
			network.publish();
			await settle(2);
		}
		const { leader } = site;
		const seen = leader.ids();
		site.kill(leader);
		assert.deepEqual(leader.ids(), seen);
		network.publish();
		await clock.advance(10);
	}
	await clock.advance(5000);
	for (const { tab, from } of all) {
		const ids = tab.ids();
		assert.deepEqual(ids, upTo(ids.at(-1), from));
		if (tab.isAlive)
			assert.equal(ids.at(-1), network.head);
	}
	site.tabs.forEach((tab) => tab.stream.stop());
});

test('a tab that joins with an older position catches up alone, then listens', async () => {
	const { network, site } = makeSite();
	const [first] = [site.open()];
	await settle();
	for (let i = 0; i < 5; i++)
		network.publish();
	await settle();
	const late = site.open({ lastEventId: 2 });
	await settle();
	assert.deepEqual(late.ids(), [3, 4, 5]);
	assert.equal(network.served, 2);
	assert.equal(network.open.length, 1, 'the private one is closed');
	network.publish();
	await settle();
	assert.deepEqual(late.ids(), [3, 4, 5, 6]);
	assert.equal(network.served, 2);
	[first, late].forEach((tab) => tab.stream.stop());
});

test('a tab that is ahead of the leader waits until it is there', async () => {
	const { network, site } = makeSite();
	for (let i = 0; i < 5; i++)
		network.publish();
	const first = site.open({ lastEventId: 0 });
	await settle();
	const held = network.mangle;
	network.mangle = () => '';
	network.publish();
	network.mangle = held;
	const ahead = site.open({ lastEventId: 6 });
	await settle();
	network.publish();
	await settle(30);
	assert.deepEqual(ahead.ids(), [7]);
	[first, ahead].forEach((tab) => tab.stream.stop());
});

test('a tab that joins without a position is live from now', async () => {
	const { network, site } = makeSite();
	const first = site.open();
	await settle();
	network.publish();
	await settle();
	const second = site.open();
	await settle();
	network.publish();
	await settle();
	assert.deepEqual(second.ids(), [2]);
	assert.equal(second.stream.info.head, 1);
	[first, second].forEach((tab) => tab.stream.stop());
});

test('the upstream is lost: all tabs say so and come back', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	network.publish();
	await settle();
	network.isUp = false;
	network.closeAll();
	await settle();
	for (const tab of tabs)
		assert.equal(tab.stream.state, 'retrying');
	network.publish();
	network.isUp = true;
	await clock.advance(10000);
	for (const tab of tabs) {
		assert.deepEqual(tab.ids(), [1, 2]);
		assert.equal(tab.stream.state, 'open');
	}
	assert.equal(network.open.length, 1);
	tabs.forEach((tab) => tab.stream.stop());
});

test('what is final for the leader ends its stream; the next one tries itself', async () => {
	const { network, site } = makeSite();
	const { answer } = network;
	network.answer = () => new Response('{}', { status: 403 });
	const first = site.open();
	await settle();
	assert.equal(first.stream.state, 'closed');
	assert.deepEqual([first.of('onClose')[0].reason,
		first.of('onClose')[0].status], ['status', 403]);
	network.answer = answer;
	const second = site.open();
	await settle();
	assert.equal(second.stream.state, 'open');
	second.stream.stop();
});

test('204 ends each tab without an error', async () => {
	const { network, site } = makeSite();
	network.answer = () => new Response(null, { status: 204 });
	const tab = site.open();
	await settle();
	assert.equal(tab.of('onClose')[0].reason, 'no_content');
	assert.deepEqual(tab.of('onError'), []);
});

test('a leader that hangs loses the lock to a tab that gets no answer', async () => {
	const { clock, network, site } = makeSite();
	const first = site.open();
	await settle();
	site.hang(first);
	const second = site.open();
	await clock.advance(4000);
	assert.equal(site.leader, second);
	assert.equal(second.stream.state, 'open');
	network.publish();
	await clock.advance(10);
	assert.deepEqual(second.ids(), [1]);
	site.wake(first);
	await clock.advance(10);
	network.publish();
	await clock.advance(5000);
	assert.deepEqual(first.ids(), [1, 2]);
	assert.deepEqual(second.ids(), [1, 2]);
	assert.equal(network.open.length, 1);
	site.kill(second);
	network.publish();
	await clock.advance(10);
	assert.equal(site.leader, first, 'it waits for the lock again');
	assert.deepEqual(first.ids(), [1, 2, 3]);
	first.stream.stop();
});

test('a leader that goes to sleep leads no more, and comes back as one of them', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	tabs[0].page.fire('pagehide', { persisted: true });
	await clock.advance(10);
	assert.equal(site.leader, tabs[1]);
	network.publish();
	await clock.advance(10);
	tabs[0].page.fire('pageshow', { persisted: true });
	await clock.advance(10);
	assert.deepEqual(tabs[0].ids(), [1]);
	assert.deepEqual(tabs[1].ids(), [1]);
	assert.equal(network.open.length, 1);
	tabs.forEach((tab) => tab.stream.stop());
});

test('a gap is told to each tab with its own numbers', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	network.publish();
	await settle();
	network.isUp = false;
	network.closeAll();
	for (let i = 0; i < 9; i++)
		network.publish();
	network.trim(8);
	network.isUp = true;
	await clock.advance(20000);
	for (const tab of tabs) {
		assert.deepEqual(tab.ids(), [1, 8, 9, 10]);
		assert.deepEqual(tab.of('onCannotResume').map((g) =>
		    [g.code, g.requested, g.lost]), [['expired', 1, 6]]);
	}
	tabs.forEach((tab) => tab.stream.stop());
});

test('a tab that was further than the leader gets a gap of its own', async () => {
	const { clock, network, site } = makeSite();
	for (let i = 0; i < 5; i++)
		network.publish();
	const first = site.open({ lastEventId: 5 });
	await settle();
	network.mangle = () => '';
	network.publish();
	const further = site.open({ lastEventId: 6 });
	await settle();
	network.isUp = false;
	network.closeAll();
	await settle();
	further.stream.restart();
	await clock.advance(1);
	for (let i = 0; i < 4; i++)
		network.publish();
	network.trim(8);
	network.mangle = (text) => text;
	network.isUp = true;
	await clock.advance(20000);
	const told = (tab) => tab.of('onCannotResume').map((g) =>
	    [g.requested, g.lost]);
	assert.deepEqual([told(first), told(further)], [[[5, 2]], [[6, 1]]]);
	assert.deepEqual(first.ids(), [8, 9, 10]);
	assert.deepEqual(further.ids(), [8, 9, 10]);
	[first, further].forEach((tab) => tab.stream.stop());
});

test('a message that did not arrive is noticed by the next one', async () => {
	const { network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	network.publish();
	await settle();
	site.loses = true;
	network.publish('b');
	network.publish();
	await settle();
	site.loses = false;
	network.heartbeat();
	await settle();
	assert.deepEqual(tabs[1].ids(), [1, 3]);
	assert.deepEqual(tabs[1].of('onGap'), []);
	assert.equal(network.open.length, 1);
	tabs.forEach((tab) => tab.stream.stop());
});

test('another log is told to each tab', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	for (let i = 0; i < 5; i++)
		network.publish();
	await settle();
	network.isUp = false;
	network.closeAll();
	network.recreate('g2');
	network.publish();
	network.isUp = true;
	await clock.advance(20000);
	network.publish();
	await clock.advance(10);
	for (const tab of tabs) {
		assert.deepEqual(tab.ids(), [1, 2, 3, 4, 5, 1, 2]);
		assert.deepEqual(tab.of('onCannotResume').map((g) => g.code),
		    ['generation']);
	}
	assert.equal(network.open.length, 1);
	tabs.forEach((tab) => tab.stream.stop());
});

test('an event that a proxy withheld is fetched by each tab', async () => {
	const { clock, network, site } = makeSite();
	let n = 0;
	network.mangle = (text, e) => (e.id === 2 && n++ === 0 ? '' : text);
	const tabs = [site.open(), site.open()];
	await settle();
	for (let i = 0; i < 4; i++)
		network.publish();
	await clock.advance(10);
	for (const tab of tabs)
		assert.deepEqual(tab.ids(), [1, 2, 3, 4]);
	assert.equal(network.open.length, 1);
	tabs.forEach((tab) => tab.stream.stop());
});

test('a slow tab stops nobody, and reads the rest later', async () => {
	const { clock, network, site } = makeSite();
	const done = [];
	const slow = site.open({ sequential: true, bufferSize: 5,
		onEvent: () => new Promise((resolve) => done.push(resolve)) });
	const quick = site.open();
	await settle();
	for (let i = 0; i < 50; i++)
		network.publish();
	await settle();
	assert.deepEqual(quick.ids(), upTo(50));
	assert.ok(slow.stream.stats().waiting <= 6, slow.stream.stats().waiting);
	for (let i = 0; i < 50; i++) {
		done.shift()?.();
		await clock.advance(1);
	}
	assert.deepEqual(slow.ids(), upTo(50));
	[slow, quick].forEach((tab) => tab.stream.stop());
});

class SilentChannel {
	postMessage() {}
	close() {}
}

/** Each is what is wrong with a tab's surroundings. */
const insecure = () => { throw new DOMException('not allowed', 'SecurityError'); };
const BROKEN = {
	'has no locks': { navigator: {} },
	'has no navigator': { navigator: undefined },
	'has no channels': { BroadcastChannel: undefined },
	'has channels that throw': { BroadcastChannel: insecure },
	'has locks that throw': { navigator: { locks: { request: insecure } } },
	'has locks whose property throws': { navigator: { get locks() {
		return insecure(); } } },
	'has locks that are refused': { navigator: { locks: {
		request: async () => insecure() } } },
	'has locks that are aborted at once': { navigator: { locks: {
		request: async () => { throw new DOMException('', 'AbortError'); } } } },
	'has locks that are refused without a reason': { navigator: { locks: {
		request: () => Promise.reject() } } },
};

for (const [what, env] of Object.entries(BROKEN))
	test(`a tab that ${what} has a connection of its own`, async (t) => {
		const { makeLogWorld } = await import('./sim/setup.js');
		const unhandled = [];
		const note = (cause) => unhandled.push(cause);
		process.on('unhandledRejection', note);
		t.after(() => process.off('unhandledRejection', note));
		const w = makeLogWorld();
		Object.defineProperty(globalThis, 'localStorage', {
			configurable: true, get: insecure });
		t.after(() => delete globalThis.localStorage);
		Object.assign(w.env, { BroadcastChannel: SilentChannel, ...env });
		await w.start({ shared: true, storage: 'local' });
		for (let i = 0; i < 5; i++)
			w.network.publish();
		await settle();
		assert.deepEqual(w.ids(), ['1', '2', '3', '4', '5']);
		assert.equal(w.stream.stats().transport, 'fetch');
		w.network.closeAll();
		await w.clock.advance(20000);
		w.network.publish();
		await settle();
		assert.equal(w.ids().at(-1), '6');
		assert.equal(w.network.served, 2, 'nothing else was tried');
		w.stream.stop();
		assert.equal(w.network.open.length, 0);
		await settle();
		assert.equal(w.clock.pending, 0);
		assert.deepEqual(unhandled, []);
	});

test('where nothing comes of locks and channels a tab goes its own way', async () => {
	const { makeLogWorld } = await import('./sim/setup.js');
	const w = makeLogWorld();
	Object.assign(w.env, {
		navigator: { locks: { request: () => new Promise(() => {}) } },
		BroadcastChannel: SilentChannel,
	});
	await w.start({ shared: true });
	await w.clock.advance(7000);
	assert.equal(w.stream.state, 'open');
	w.network.publish();
	await settle();
	assert.deepEqual(w.ids(), ['1']);
	w.stream.stop();
	assert.equal(w.clock.pending, 0);
});

test('a leader that may share no more goes on alone, and misses nothing', async () => {
	const { clock, network, site } = makeSite();
	const tabs = [site.open(), site.open()];
	await settle();
	network.publish();
	await settle();
	site.locks.fail(tabs[0]);
	network.publish();
	await clock.advance(20000);
	network.publish();
	await settle();
	for (const tab of tabs) {
		assert.deepEqual(tab.ids(), [1, 2, 3]);
		assert.equal(tab.stream.state, 'open');
	}
	assert.equal(network.open.length, 2);
	assert.equal(site.leader, tabs[1]);
	tabs.forEach((tab) => tab.stream.stop());
});

const expire = (network, reason) => {
	network.open.forEach((c) => c.send('event: control.close\n' +
	    `data: {"reason":"${reason}","retry_ms":100}\n\n`));
	network.closeAll();
};

test('the leader\'s token expires: a fresh one of his, and no tab loses or ' +
    'repeats an event', async () => {
	const { clock, network, site } = makeSite();
	const asked = [];
	const token = (who) => async () =>
	    `${who}${asked.push(who)}`;
	const tabs = ['a', 'b', 'c'].map((who) => site.open({ token: token(who) }));
	await settle();
	for (let round = 0; round < 3; round++) {
		network.publish();
		await settle();
		expire(network, 'auth_expired');
		network.publish();
		await clock.advance(10000);
	}
	for (const tab of tabs)
		assert.deepEqual(tab.ids(), upTo(6));
	// b and c ask when they catch up alone.
	assert.ok(asked.filter((who) => who === 'a').length >= 4);
	assert.equal(site.leader, tabs[0]);
	tabs[0].stream.stop();
	network.publish();
	await clock.advance(10000);
	for (const tab of tabs.slice(1))
		assert.deepEqual(tab.ids(), upTo(7));
	tabs.forEach((tab) => tab.stream.stop());
});

test('what the leader is refused reaches its handlers in the server\'s words',
    async () => {
	const { clock, network, site } = makeSite();
	const token = () => { throw new Error('signed out'); };
	const tab = site.open({ token });
	await clock.advance(1000);
	assert.match(tab.of('onError')[0].message, /token failed: signed out/);
	network.answer = () => new Response('{"detail":"No \\"a\\" for you."}',
	    { status: 403, headers: { 'content-type': 'application/problem+json' } });
	const other = site.open({ shared: 'x' });
	await clock.advance(5000);
	const error = other.of('onError').at(-1);
	assert.equal(other.stream.state, 'closed');
	assert.deepEqual([error.status, error.problem.detail, error.message],
	    [403, 'No "a" for you.',
	    'the server answered 403: No "a" for you.']);
	tab.stream.stop();
});
