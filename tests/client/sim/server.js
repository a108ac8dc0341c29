// SPDX-License-Identifier: MIT
//
// The network as `fetch`: each request is kept, and answered by the test or by
// a log that keeps to walcast-protocol(7).

const HEADERS = { 'content-type': 'text/event-stream' };

/** One request, and the body of its answer. */
export class Connection {
	#controller;
	#encoder = new TextEncoder();
	isOpen = true;

	constructor(url, init) {
		this.url = new URL(url);
		this.init = init;
		this.headers = new Headers(init.headers);
		this.body = new ReadableStream({
			start: (controller) => { this.#controller = controller; },
			cancel: () => { this.isOpen = false; },
		}, { highWaterMark: Infinity });
		init.signal?.addEventListener('abort', () =>
		    this.fail(new DOMException('aborted', 'AbortError')));
	}

	get lastEventId() {
		return this.headers.get('last-event-id') ??
		    this.url.searchParams.get('last_event_id') ?? '';
	}

	send(data) {
		if (!this.isOpen)
			return;
		this.#controller.enqueue(typeof data === 'string'
			? this.#encoder.encode(data) : data);
	}

	end() {
		if (this.isOpen)
			this.#controller.close();
		this.isOpen = false;
	}

	fail(error = new TypeError('network error')) {
		if (this.isOpen)
			this.#controller.error(error);
		this.isOpen = false;
	}
}

/** Answers by `answer(connection)`: a Response, a promise of one, or throws. */
export class Network {
	connections = [];

	constructor(answer = (c) => this.stream(c)) {
		this.answer = answer;
	}

	stream(c, headers = HEADERS) {
		return new Response(c.body, { headers });
	}

	fetch = async (url, init) => {
		if (init.signal?.aborted)
			throw new DOMException('aborted', 'AbortError');
		const c = new Connection(url, init);
		this.connections.push(c);
		return this.answer(c);
	};

	get last() {
		return this.connections.at(-1);
	}

	get open() {
		return this.connections.filter((c) => c.isOpen);
	}
}

export const frame = (fields) => `${Object.entries(fields).map(([name, value]) =>
    (name === 'comment' ? `: ${value}\n` : `${name}: ${value}\n`)).join('')}\n`;

export const openFrame = (more = {}, id = 40) => frame({
	...id === null ? {} : { id },
	event: 'control.open',
	data: JSON.stringify({ stream: 's1', generation: 'g1', head: 40, oldest: 1,
		resumed_from: null, heartbeat_ms: 15000, ...more }),
});

export const envelope = (id, { channel = 'a', prev = id - 1, data = { n: id },
	ts = 1767225600000, event = 'message' } = {}) => frame({
	id,
	...event === 'message' ? {} : { event },
	data: JSON.stringify({ id, channel, event, ts, trace: null, prev, data }),
});

/**
 * A log and its server.  Connections get what is after their id, at once; a
 * frame may be held back by `mangle(text, event, connection)`, which returns
 * what goes out ('' for nothing).
 */
export class LogServer extends Network {
	events = [];
	generation = 'g1';
	oldest = 1;
	head = 0;
	heartbeatMs = 15000;
	retry = null;
	isUp = true;
	mangle = (text) => text;
	served = 0;

	#clock;
	#cursors = new Map();

	constructor(clock) {
		super();
		this.#clock = clock;
		this.answer = (c) => this.#answer(c);
	}

	publish(channel = 'a', data = null) {
		const id = ++this.head;
		const prev = this.events.findLast((e) => e.channel === channel)?.id ?? 0;
		this.events.push({ id, channel, prev, data: data ?? { n: id },
			ts: this.#clock.now() });
		for (const c of [...this.#cursors.keys()])
			this.#serve(c);
		return id;
	}

	/** Retention: the oldest event is this one from now on. */
	trim(oldest) {
		this.oldest = oldest;
		this.events = this.events.filter((e) => e.id >= oldest);
	}

	recreate(generation) {
		this.generation = generation;
		this.events = [];
		this.head = 0;
		this.oldest = 1;
	}

	heartbeat() {
		for (const c of [...this.#cursors.keys()]) {
			c.send(frame({ comment: 'hb', id: this.head }));
			this.#cursors.set(c, this.head);
		}
	}

	closeAll(fail = false) {
		for (const c of [...this.#cursors.keys()])
			fail ? c.fail() : c.end();
		this.#cursors.clear();
	}

	#answer(c) {
		if (!this.isUp)
			throw new TypeError('connection refused');
		this.served++;
		const asked = c.lastEventId;
		const known = c.url.searchParams.get('generation');
		const from = asked === '' ? this.head : Number(asked);
		const gap = asked === '' ? null : this.#gap(from, known);
		c.send((this.retry === null ? '' : `retry: ${this.retry}\n`) + openFrame({
			stream: `s${this.served}`, generation: this.generation,
			head: this.head, oldest: this.oldest,
			resumed_from: asked === '' ? null : from,
			heartbeat_ms: this.heartbeatMs,
			server_time_ms: this.#clock.now(),
		}, gap ? null : from));
		if (gap)
			c.send(frame({ id: gap.id, event: 'control.gap',
				data: JSON.stringify(gap.data) }));
		this.#cursors.set(c, gap ? gap.id : from);
		this.#serve(c);
		return this.stream(c, { ...HEADERS, 'x-sse-stream': `s${this.served}` });
	}

	#gap(from, known) {
		const told = (code) => ({ id: this.oldest - 1, data: { requested: from,
			oldest: this.oldest, newest: this.head, code,
			lost: code === 'expired' ? this.oldest - 1 - from
				: this.oldest - 1 } });
		if (known && known !== this.generation)
			return told('generation');
		if (from > this.head)
			return told('ahead');
		return from < this.oldest - 1 ? told('expired') : null;
	}

	#serve(c) {
		for (const e of this.events) {
			if (!c.isOpen) {
				this.#cursors.delete(c);
				return;
			}
			if (e.id <= this.#cursors.get(c))
				continue;
			this.#cursors.set(c, e.id);
			const channels = c.url.searchParams.getAll('channel');
			if (channels.length > 0 && !channels.includes(e.channel))
				continue;
			const plain = c.url.searchParams.get('envelope') !== '1';
			c.send(this.mangle(plain
				? frame({ id: e.id, data: JSON.stringify(e.data) })
				: envelope(e.id, e), e, c));
		}
	}
}
