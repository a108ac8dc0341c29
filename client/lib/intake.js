// SPDX-License-Identifier: MIT
//
// What comes on a connection, and what it means: walcast-protocol(7).  Events
// are judged by the ledger; control frames move the position, tell the log's
// generation and what is missing.  No I/O.
//
// Each id that the stream says is the position from then on, also of a frame
// that the handler does not get.  The one exception is an event that proves a
// hole: it is left, and asked for again from before the hole.

import { Ledger, rank } from './ledger.js';

/** How often a hole is asked for before it is accepted. */
const MAX_REPAIRS = 2;

const parseJson = (text) => {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
};

export class Intake {
	/** The position: where the next connection resumes; '' is live from now. */
	received = '';
	/** The log's, as the server said it last. */
	generation = '';
	/** Data of the last control.open. */
	info = null;
	/** Data of control.close, when the server said why it ends this stream. */
	closing = null;
	/** Server's clock minus ours, as well as one answer tells. */
	offsetMs = 0;

	#options;
	#on;
	#isEnvelope;
	#ledger;
	#askedAt = 0;
	#repair = null;

	/**
	 * query: the URLSearchParams of every request;
	 * on: {now(), metrics, emit(name, payload), put(event or null, id),
	 *   opened()          control.open came
	 *   repair()          connect again, from the position
	 *   cannotResume(gap) the server went on elsewhere}
	 */
	constructor(options, query, on) {
		this.#options = options;
		this.#isEnvelope = query.has('envelope');
		this.#on = on;
		this.#ledger = new Ledger({ max: options.dedupeSize,
			ttlMs: options.dedupeTtlMs,
			prove: !query.has('events') });
	}

	/** A connection is being made from the position. */
	begin() {
		this.#askedAt = this.#on.now();
		this.closing = null;
	}

	/** What the ledger has is void: another position was set. */
	restartAt(id) {
		this.received = id;
		this.#forget();
	}

	// In each of these the position and the books are set before the caller's
	// functions run: one of them may end this connection or begin anew.

	frame(raw) {
		if (/^(control|system)\./.test(raw.type))
			this.#takeControl(raw);
		else
			this.#takeEvent(this.#shape(raw), raw.id);
	}

	/** A block with an id and without data. */
	position(id) {
		this.#moveTo(id, null);
	}

	comment(text) {
		this.#noteHeartbeat({ source: 'comment', id: this.received,
			text: text.trim() });
	}

	#moveTo(id, event) {
		this.received = id;
		this.#on.put(event, id);
	}

	// ---- control -----------------------------------------------------------

	#takeControl(raw) {
		const data = parseJson(raw.data) ?? {};
		const [, name] = raw.type.split('.');
		if (name === 'open')
			this.#takeOpen(raw, data);
		else if (name === 'close')
			this.closing = data;
		else if (name === 'gap')
			this.#skip(raw.id, data.code);
		const asEvent = this.#options.deliverControl;
		if (raw.hasId || asEvent)
			this.#moveTo(raw.id, asEvent ? { ...raw, data } : null);
		if (name === 'heartbeat')
			this.#noteHeartbeat({ source: 'event', id: raw.id,
				head: data.head, serverTimeMs: data.server_time_ms });
		this.#on.emit('control', { type: raw.type, data, id: raw.id });
		if (name === 'gap')
			this.#tellGap({ ...data, id: raw.id });
	}

	#noteHeartbeat(payload) {
		this.#on.metrics.count('heartbeats');
		this.#on.emit('heartbeat', payload);
	}

	#takeOpen(raw, data) {
		this.info = data;
		if (data.server_time_ms)
			this.offsetMs = Math.round(data.server_time_ms -
			    (this.#on.now() + this.#askedAt) / 2);
		// Another log: its ids are not those in the books.  The server, which
		// was asked with our generation, tells it in the next frame.
		if (this.generation && this.generation !== data.generation)
			this.#forget();
		this.generation = data.generation ?? '';
		if (raw.hasId)
			this.#ledger.beginAt(raw.id);
		this.#on.opened();
	}

	#forget() {
		this.#ledger.forget();
		this.#repair = null;
	}

	#skip(id, code) {
		if (code === 'ahead' || code === 'generation')
			this.#forget();
		this.#ledger.skipTo(id);
	}

	#tellGap(gap) {
		this.#on.metrics.count('gaps');
		this.#on.metrics.count('missing', gap.lost ?? 0);
		this.#on.emit('gap', { source: 'server', ...gap });
		this.#on.cannotResume({ ...gap, generation: this.generation });
	}

	// ---- events ------------------------------------------------------------

	#shape(raw) {
		const event = {
			id: raw.hasId ? raw.id : '',
			type: raw.type,
			data: raw.data,
			lastEventId: raw.id,
		};
		const e = this.#isEnvelope && parseJson(raw.data);
		if (e && String(e.id) === raw.id && typeof e.channel === 'string')
			return Object.assign(event, { data: e.data, channel: e.channel,
				ts: e.ts, trace: e.trace ?? null, prev: e.prev });
		return event;
	}

	#takeEvent(event, id) {
		const verdict = this.#ledger.judge(event, this.#on.now());
		if (verdict === 'gap' && this.#startRepair(event))
			return;
		if (verdict === 'duplicate' || verdict === 'outOfOrder')
			this.#takeMisplaced(verdict, event, id);
		else
			this.#accept(event, id);
	}

	/** outOfOrder is 'drop', 'callback' (drop and tell) or 'accept' (and tell). */
	#takeMisplaced(what, event, id) {
		const policy = what === 'duplicate' ? 'callback'
			: this.#options.outOfOrder;
		const last = this.#ledger.last;
		if (policy === 'accept')
			this.#accept(event, id);
		else
			this.#moveTo(id, null);
		// What a repair asks for again is expected.
		if (rank(id) < rank(this.#repair?.id))
			return;
		this.#on.metrics.count(what === 'duplicate' ? 'duplicates' : what);
		if (policy !== 'drop')
			this.#on.emit(what, { id: event.id, last, event,
				action: policy === 'accept' ? policy : 'drop' });
	}

	/** The event before this one is missing.  False: accept that. */
	#startRepair(event) {
		const after = this.#ledger.after(event.channel);
		const same = this.#repair?.id === event.id;
		const attempt = same ? this.#repair.attempt + 1 : 1;
		const metrics = this.#on.metrics;
		if (!same) {
			metrics.count('gaps');
			metrics.count('missing');
		}
		const again = attempt <= MAX_REPAIRS;
		this.#repair = again ? { id: event.id, channel: event.channel, attempt }
			: null;
		if (again)
			this.#moveTo(String(after), null);
		this.#on.emit('gap', { source: 'prev', channel: event.channel, after,
			prev: event.prev, id: event.id, attempt,
			action: again ? 'resume' : 'give_up' });
		if (again)
			this.#on.repair();
		return again;
	}

	#accept(event, id) {
		const now = this.#on.now();
		const repair = this.#repair;
		if (repair?.id === event.id) {
			this.#repair = null;
		} else if (event.channel && (rank(event.id) < this.#ledger.last ||
		    repair?.channel === event.channel)) {
			event.recovered = true;
			this.#on.metrics.count('recovered');
		}
		this.#ledger.note(event, now);
		this.#on.metrics.count('events');
		this.#moveTo(id, event);
		// What is replayed is old by intent: lag is of live events only.
		if (event.ts && rank(event.id) > this.info?.head)
			this.#on.metrics.addLag(
			    Math.max(0, now + this.offsetMs - event.ts), event.ts);
	}
}
