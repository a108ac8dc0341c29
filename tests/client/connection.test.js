// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { envelope, frame, openFrame } from './sim/server.js';
import { connect, makeWorld } from './sim/setup.js';

const json = (status, headers = {}) => () =>
    new Response(status === 204 ? null : '{}', { status, headers });

test('it asks for channels and envelopes, with the headers of a stream', async () => {
	const w = makeWorld();
	await w.start({ channels: ['a', 'b.*'], events: ['x', 'y'],
		headers: { 'X-Of-Mine': '1' }, credentials: 'include' });
	const { url, headers, init } = w.network.last;
	assert.equal(url.search, '?channel=a&channel=b.*&events=x%2Cy&envelope=1');
	assert.equal(headers.get('accept'), 'text/event-stream');
	assert.equal(headers.get('x-of-mine'), '1');
	assert.equal(headers.get('last-event-id'), null);
	assert.equal(init.credentials, 'include');
	assert.equal(init.cache, 'no-store');
	w.stream.stop();
});

test('idle, connecting, open, closed; onOpen and onClose say what happened', async () => {
	const w = makeWorld();
	const stream = w.make();
	assert.equal(stream.state, 'idle');
	assert.equal(stream.connect(), stream);
	assert.equal(stream.state, 'connecting');
	await w.settle();
	assert.equal(stream.state, 'open');
	assert.deepEqual(w.of('onOpen'), [{ status: 200, stream: null,
		reconnect: false, transport: 'fetch', attempt: 0 }]);
	stream.stop();
	assert.equal(stream.state, 'closed');
	assert.deepEqual(w.of('onClose'), [{ reason: 'stopped',
		willReconnect: false, retryIn: null, status: undefined, error: null }]);
	assert.deepEqual(w.of('onStateChange').map((c) =>
	    `${c.from} ${c.to} ${c.reason}`), ['idle connecting connect',
		'connecting open opened', 'open closed stopped']);
	await w.settle();
	assert.equal(w.network.open.length, 0, 'the socket is closed for real');
	assert.equal(w.clock.pending, 0, 'no timer is left');
});

test('events arrive as envelopes say them', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40, event: 'created',
		data: { n: 1 } }));
	await w.settle();
	const [event] = w.of('onEvent');
	assert.deepEqual(event, { id: '41', type: 'created', data: { n: 1 },
		lastEventId: '41', channel: 'a', ts: 1767225600000, trace: null,
		prev: 40 });
	w.stream.stop();
});

test('without envelopes the data is the text', async () => {
	const w = makeWorld();
	await w.start({ envelope: false });
	assert.equal(w.network.last.url.searchParams.has('envelope'), false);
	w.network.last.send(frame({ id: 7, data: '{"id":7,"channel":"a"}' }));
	await w.settle();
	assert.deepEqual(w.of('onEvent'), [{ id: '7', type: 'message',
		data: '{"id":7,"channel":"a"}', lastEventId: '7' }]);
	w.stream.stop();
});

test('an event of another server, which is no envelope, is passed as it is', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(frame({ id: 'x1', data: '[1]' }) + frame({ data: 'hi' }));
	await w.settle();
	assert.deepEqual(w.of('onEvent').map((e) => [e.id, e.data, e.lastEventId]),
	    [['x1', '[1]', 'x1'], ['', 'hi', 'x1']]);
	w.stream.stop();
});

test('addEventListener takes types, open and error, as EventSource does', async () => {
	const w = makeWorld();
	const stream = w.make();
	const seen = [];
	const note = (name) => (e) => seen.push([name, e.id ?? e.status]);
	const created = note('created');
	stream.addEventListener('created', created);
	stream.addEventListener('message', note('message'));
	stream.addEventListener('open', note('open'));
	const off = stream.on('event', note('event'));
	stream.connect();
	await w.settle();
	w.network.last.send(openFrame() + envelope(41, { event: 'created' }) +
	    envelope(42));
	await w.settle();
	stream.removeEventListener('created', created);
	off();
	w.network.last.send(envelope(43, { event: 'created' }));
	await w.settle();
	assert.deepEqual(seen, [['open', 200], ['event', '41'], ['created', '41'],
		['event', '42'], ['message', '42']]);
	stream.stop();
});

test('control frames go to onControl and not to onEvent', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + frame({ id: 41, event: 'system.heartbeat',
		data: '{"head":41,"server_time_ms":5}' }));
	await w.settle();
	assert.deepEqual(w.of('onEvent'), []);
	assert.deepEqual(w.of('onControl').map((c) => [c.type, c.id]),
	    [['control.open', '40'], ['system.heartbeat', '41']]);
	assert.equal(w.of('onControl')[0].data.generation, 'g1');
	assert.deepEqual(w.of('onHeartbeat'), [{ source: 'event', id: '41',
		head: 41, serverTimeMs: 5 }]);
	assert.equal(w.stream.info.stream, 's1');
	assert.equal(w.stream.generation, 'g1');
	w.stream.stop();
});

test('with deliverControl they go to both', async () => {
	const w = makeWorld();
	await w.start({ deliverControl: true });
	w.network.last.send(openFrame());
	await w.settle();
	assert.equal(w.of('onEvent')[0].type, 'control.open');
	assert.equal(w.of('onEvent')[0].data.head, 40);
	w.stream.stop();
});

test('a comment is a heartbeat', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + frame({ comment: 'hb', id: 52 }));
	await w.settle();
	assert.deepEqual(w.of('onHeartbeat'),
	    [{ source: 'comment', id: '40', text: 'hb' }]);
	assert.equal(w.stream.lastEventId, '52');
	w.stream.stop();
});

// ---- how it ends and comes back ------------------------------------------------

test('the end of a stream is followed by another one, after the delay it said', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send('retry: 3000\n' + openFrame());
	await w.settle();
	w.network.last.end();
	await w.settle();
	const [close] = w.of('onClose');
	const [retry] = w.of('onRetry');
	assert.equal(close.reason, 'ended');
	assert.equal(close.willReconnect, true);
	assert.ok(close.retryIn >= 3000 && close.retryIn <= 4000, close.retryIn);
	assert.deepEqual(retry, { reason: 'ended', retryIn: close.retryIn,
		attempt: 1, error: null });
	assert.equal(w.stream.state, 'retrying');
	await w.clock.advance(close.retryIn - 1);
	assert.equal(w.network.connections.length, 1);
	await w.clock.advance(1);
	assert.equal(w.network.connections.length, 2);
	assert.equal(w.stream.state, 'open');
	assert.deepEqual(w.of('onResumeAttempt'),
	    [{ lastEventId: '40', generation: 'g1', attempt: 1 }]);
	assert.equal(w.of('onOpen')[1].reconnect, true);
	w.stream.stop();
});

test('the delay that was told is the one that is kept, with any jitter', async () => {
	for (let seed = 1; seed <= 20; seed++) {
		const w = makeWorld({ seed });
		await w.start({ retry: { initialDelayMs: 4000 } });
		w.network.last.end();
		await w.settle();
		const { retryIn } = w.of('onClose')[0];
		assert.equal(w.clock.untilNext, retryIn);
		w.stream.stop();
	}
});

test('control.close gives its reason and its floor', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + 'retry: 9000\n' + frame({
		event: 'control.close', data: '{"reason":"drain","retry_ms":9000}' }));
	w.network.last.end();
	await w.settle();
	const [close] = w.of('onClose');
	assert.equal(close.reason, 'drain');
	assert.ok(close.retryIn >= 9000 && close.retryIn <= 10000);
	w.page.fire('visibilitychange');
	await w.settle();
	assert.equal(w.network.connections.length, 1, 'a look at the page does ' +
	    'not skip what the server asked for');
	await w.clock.advance(10000);
	assert.equal(w.network.connections.length, 2);
	w.stream.stop();
});

test('a network error is reported, retried, and the delay grows', async () => {
	const w = makeWorld();
	w.network.answer = () => { throw new TypeError('refused'); };
	await w.start({ retry: { jitter: 0 } });
	await w.clock.advance(1000 + 2000 + 4000 - 1);
	assert.deepEqual(w.of('onRetry').map((r) => r.retryIn), [1000, 2000, 4000]);
	const [error] = w.of('onError');
	assert.ok(error instanceof Error);
	assert.deepEqual([error.kind, error.message, error.fatal],
	    ['network', 'refused', false]);
	assert.deepEqual(w.of('onClose'), [], 'nothing was open');
	w.stream.stop();
});

test('attempts begin anew after an event, or after five seconds of stream', async () => {
	const w = makeWorld();
	await w.start({ retry: { jitter: 0 } });
	for (const [use, retryIn] of [[async () => {}, 1000], [async () => {}, 2000],
		[async () => w.network.last.send(envelope(41)), 1000],
		[async () => {}, 2000],
		[async () => w.clock.advance(5000), 1000]]) {
		await use();
		await w.settle();
		w.network.last.end();
		await w.settle();
		assert.equal(w.of('onRetry').at(-1).retryIn, retryIn);
		await w.clock.advance(retryIn);
	}
	w.stream.stop();
});

test('Retry-After is a floor, in seconds and as a date', async () => {
	const w = makeWorld();
	const answers = [json(503, { 'retry-after': '20' }),
		json(429, { 'retry-after': new Date(w.clock.now() + 90000)
		    .toUTCString() })];
	w.network.answer = () => answers.shift()();
	await w.start({ retry: { jitter: 0 } });
	assert.equal(w.of('onRetry')[0].retryIn, 21000);
	assert.equal(w.of('onError')[0].status, 503);
	await w.clock.advance(21000);
	assert.equal(w.of('onRetry')[1].retryIn, 90000 - 21000 + 2000);
	w.stream.stop();
});

test('204 ends it for good, and is no error', async () => {
	const w = makeWorld();
	w.network.answer = json(204);
	await w.start();
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.of('onClose')[0].reason, 'no_content');
	assert.deepEqual(w.of('onError'), []);
	assert.equal(w.clock.pending, 0);
});

test('client errors are final, but for 408, 425 and 429', async () => {
	for (const status of [400, 401, 403, 404, 405, 406, 410]) {
		const w = makeWorld();
		w.network.answer = json(status);
		await w.start();
		assert.equal(w.stream.state, 'closed', status);
		const [close] = w.of('onClose');
		assert.deepEqual([close.reason, close.status, close.willReconnect],
		    ['status', status, false]);
		assert.equal(w.of('onError')[0].fatal, true);
	}
	for (const status of [408, 425, 429, 500, 502, 503, 504]) {
		const w = makeWorld();
		w.network.answer = json(status);
		await w.start();
		assert.equal(w.stream.state, 'retrying', status);
		w.stream.stop();
	}
});

test('`fatal` decides otherwise', async () => {
	const w = makeWorld();
	w.network.answer = json(404);
	await w.start({ fatal: (status) => status === 500 });
	assert.equal(w.stream.state, 'retrying');
	w.stream.stop();
});

test('another content type is final, and the message says which', async () => {
	for (const type of ['text/html', 'text/event-streams', null]) {
		const w = makeWorld();
		w.network.answer = () => new Response('x', { status: 200,
			headers: type ? { 'content-type': type } : {} });
		await w.start();
		assert.equal(w.stream.state, 'closed');
		assert.equal(w.of('onError')[0].kind, 'content_type');
		assert.ok(w.network.last.init.signal.aborted, 'its body is not read');
	}
	for (const type of ['text/event-stream;charset=utf-8',
		'Text/Event-Stream ; x']) {
		const w = makeWorld();
		w.network.answer = (c) => w.network.stream(c, { 'content-type': type });
		await w.start();
		assert.equal(w.stream.state, 'open');
		w.stream.stop();
	}
});

test('a page in place of the stream: `fatal` decides whether it may pass', async () => {
	const w = makeWorld();
	const page = () => new Response('<h1>Back soon</h1>', { status: 200,
		headers: { 'content-type': 'text/html', 'retry-after': '2' } });
	w.network.answer = page;
	await w.start({ fatal: () => false });
	assert.equal(w.stream.state, 'retrying');
	const [error] = w.of('onError');
	assert.deepEqual([error.kind, error.status, error.fatal],
	    ['content_type', 200, false]);
	assert.match(error.message, /is text\/html, not text\/event-stream/);
	assert.ok(w.of('onRetry')[0].retryIn >= 2000, 'when the page says');
	w.network.answer = (c) => w.network.stream(c);
	await w.clock.advance(10000);
	assert.equal(w.stream.state, 'open');
	w.stream.stop();
	w.network.answer = page;
	await w.start();
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.of('onClose').at(-1).reason, 'content_type');
});

test('an event that is too long ends it, and the socket', async () => {
	const w = makeWorld();
	await w.start({ maxLength: 100 });
	w.network.last.send(`data: ${'x'.repeat(200)}`);
	await w.settle();
	assert.deepEqual(w.of('onError').map((e) => e.message),
	    ['an event is longer than maxLength, 100']);
	assert.equal(w.of('onClose')[0].reason, 'too_long');
	assert.equal(w.network.open.length, 0);
});

test('a token is asked for each attempt; one 401 may be a stale one', async () => {
	const w = makeWorld();
	let n = 0;
	const sent = [];
	w.network.answer = (c) => {
		sent.push(c.headers.get('authorization'));
		return json(401)();
	};
	await w.start({ token: async () => `t${++n}`, retry: { jitter: 0 } });
	await w.clock.advance(1000);
	assert.deepEqual(sent, ['Bearer t1', 'Bearer t2']);
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.of('onClose')[0].status, 401);
});

test('a token that cannot be had is an error that may pass', async () => {
	const w = makeWorld();
	await w.start({ token: () => { throw new Error('logged out'); } });
	assert.deepEqual([w.of('onError')[0].kind, w.of('onError')[0].message],
	    ['token', 'token failed: logged out']);
	assert.equal(w.stream.state, 'retrying');
	assert.equal(w.network.connections.length, 0);
	w.stream.stop();
});

test('method and body are the caller\'s, the body anew for each attempt', async () => {
	const w = makeWorld();
	let n = 0;
	await w.start({ method: 'POST', body: () => `b${++n}`,
		retry: { jitter: 0 } });
	w.network.last.end();
	await w.clock.advance(2000);
	assert.deepEqual(w.network.connections.map((c) =>
	    [c.init.method, c.init.body]), [['POST', 'b1'], ['POST', 'b2']]);
	w.stream.stop();
});

test('after maxAttempts it gives up and says so', async () => {
	const w = makeWorld();
	w.network.answer = () => { throw new TypeError('refused'); };
	await w.start({ retry: { maxAttempts: 2, jitter: 0 } });
	await w.clock.advance(10000);
	assert.equal(w.network.connections.length, 3);
	const [given] = w.of('onGiveUp');
	assert.deepEqual([given.reason, given.attempts, given.error.kind],
	    ['max_attempts', 2, 'network']);
	assert.equal(w.of('onClose')[0].reason, 'gave_up');
	assert.equal(w.stream.state, 'closed');
});

test('after maxElapsedMs too', async () => {
	const w = makeWorld();
	w.network.answer = () => { throw new TypeError('refused'); };
	await w.start({ retry: { maxElapsedMs: 5000, jitter: 0 } });
	await w.clock.advance(60000);
	assert.equal(w.of('onGiveUp')[0].reason, 'max_elapsed');
});

test('retry "none" does not come back', async () => {
	const w = makeWorld();
	await w.start({ retry: 'none' });
	w.network.last.end();
	await w.settle();
	assert.equal(w.stream.state, 'closed');
	assert.equal(w.of('onClose')[0].reason, 'gave_up');
});

test('an AbortSignal ends it, also one that was aborted before', async () => {
	const w = makeWorld();
	const abort = new AbortController();
	await w.start({ signal: abort.signal });
	abort.abort();
	assert.equal(w.of('onClose')[0].reason, 'aborted');
	await w.settle();
	assert.equal(w.network.open.length, 0);
	const v = makeWorld();
	await v.start({ signal: AbortSignal.abort() });
	assert.equal(v.stream.state, 'closed');
	assert.equal(v.network.connections.length, 0);
});

test('restart makes a new connection at once and closes the old one', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }));
	await w.settle();
	w.stream.restart();
	await w.clock.advance(0);
	assert.equal(w.network.connections.length, 2);
	assert.equal(w.network.connections[0].isOpen, false);
	assert.equal(w.network.last.lastEventId, '41');
	w.stream.stop();
});

test('stop and connect go on where the handler was', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }));
	await w.settle();
	w.stream.stop();
	w.stream.connect();
	await w.settle();
	assert.equal(w.network.last.lastEventId, '41');
	w.stream.stop();
});

test('stop while it waits to come back leaves nothing running', async () => {
	const w = makeWorld();
	await w.start();
	w.network.last.end();
	await w.settle();
	w.stream.stop();
	assert.equal(w.clock.pending, 0);
	await w.clock.advance(60000);
	assert.equal(w.network.connections.length, 1);
});

test('what a closed connection still holds is not heard', async () => {
	const w = makeWorld();
	await w.start({ onEvent: () => w.stream.stop() });
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }) + envelope(42) +
	    envelope(43));
	await w.settle();
	assert.deepEqual(w.ids(), ['41']);
});

test('a handler may stop or restart it from within each callback', async () => {
	for (const name of ['onOpen', 'onClose', 'onRetry', 'onError', 'onControl',
		'onResumeAttempt', 'onStateChange', 'onEvent', 'onHeartbeat']) {
		const w = makeWorld();
		await w.start({ [name]: () => w.stream?.stop() });
		w.network.last?.send(openFrame() + envelope(41, { prev: 40 }) +
		    frame({ comment: 'hb', id: 50 }));
		await w.settle();
		w.network.last?.fail();
		await w.clock.advance(60000);
		assert.equal(w.stream.state, 'closed', name);
		assert.deepEqual([w.log.at(-1)[0], w.log.at(-1)[1].reason],
		    ['onClose', 'stopped'], name);
		assert.equal(w.network.open.length, 0, name);
		assert.equal(w.clock.pending, 0, name);
	}
});

test('so it may at each change of its state, the first time or the second', async () => {
	for (const state of ['connecting', 'open', 'retrying']) {
		for (const time of [1, 2]) {
			const w = makeWorld();
			let n = 0;
			const stream = w.make({ onStateChange: ({ to }) => {
				if (to === state && ++n === time)
					stream.stop();
			} });
			stream.connect();
			for (let i = 0; i < 3; i++) {
				await w.clock.advance(5000);
				w.network.last?.end();
			}
			await w.clock.advance(60000);
			assert.equal(stream.state, 'closed', `${state} ${time}`);
			const [name, close] = w.log.at(-1);
			assert.deepEqual([name, close.willReconnect], ['onClose', false],
			    'the last that is told');
			assert.equal(w.network.open.length, 0);
			assert.equal(w.clock.pending, 0);
		}
	}
});

test('stopping in onGiveUp closes once', async () => {
	const w = makeWorld();
	await w.start({ retry: 'none', onGiveUp: () => w.stream.stop() });
	w.network.last.end();
	await w.settle();
	assert.deepEqual(w.of('onClose').map((c) => c.reason), ['stopped']);
});

// ---- handlers that fail ----------------------------------------------------------

test('a handler that throws is reported and costs nothing else', async () => {
	const w = makeWorld();
	await w.start({ onEvent: (e) => {
		if (e.id === '41')
			throw new Error('mine');
	} });
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }) + envelope(42));
	await w.settle();
	assert.deepEqual(w.ids(), ['41', '42']);
	const [error] = w.of('onError');
	assert.deepEqual([error.kind, error.cause.message, error.event.id],
	    ['handler', 'mine', '41']);
	assert.equal(w.stream.stats().handledEventId, '42');
	assert.equal(w.stream.stats().handlerErrors, 1);
	assert.equal(w.stream.state, 'open');
	w.stream.stop();
});

test('so is one whose promise is rejected, and one of onError itself', async () => {
	const w = makeWorld();
	await w.start({
		onEvent: async () => { throw new Error('later'); },
		onError: () => { throw new Error('worse'); },
	});
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }));
	await w.settle();
	assert.equal(w.of('onError')[0].cause.message, 'later');
	assert.equal(w.of('console')[0].message, 'worse');
	w.stream.stop();
});

test('where nobody listens to errors, a handler\'s goes to the console', async () => {
	const w = makeWorld();
	await w.start({ without: ['onError'], onEvent: () => {
		throw new Error('mine');
	} });
	w.network.last.send(openFrame() + envelope(41, { prev: 40 }));
	await w.settle();
	assert.equal(w.of('console')[0].message, 'mine');
	w.stream.stop();
});

test('all that is wrong with options is said at once', () => {
	assert.throws(() => connect('https://x/', { retry: 'often' }),
	    /option retry: no preset "often"/);
	assert.throws(() => connect('/relative'), TypeError);
});
