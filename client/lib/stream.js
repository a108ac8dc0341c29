// SPDX-License-Identifier: MIT
//
// A stream: connections one after another that look like one to the handler.
//
//   idle -> connecting -> open -> retrying -> connecting ...   -> closed
//
// Two positions: intake.received is where the next connection resumes, #handled
// is what the store keeps; between them lies the outbox.  Each connection has a
// number (#turn); a closed one says nothing more.

import { Backoff } from './backoff.js';
import { makeEnv } from './env.js';
import { Handlers } from './handlers.js';
import { Intake } from './intake.js';
import { Liveness, watchPage } from './liveness.js';
import { Metrics } from './metrics.js';
import { Outbox } from './outbox.js';
import { baseUrl, requestInit, requestUrl } from './request.js';
import { pickStore } from './storage.js';
import { canStream, openFetch, streamError } from './transport.js';

/** Client errors do not go away by asking again, but for these. */
const isFinal = (status) => status < 500 && ![408, 425, 429].includes(status);
/** A stream that lasted this long, or gave an event, was worth its attempt. */
const STABLE_MS = 5000;

const DEFAULTS = {
	cannotResume: 'continue',
	outOfOrder: 'callback',
	bufferSize: 1000,
	connectTimeoutMs: 30000,
	livenessFactor: 2.5,
};
const READ_TIMEOUT_MS = 45000;
const SLACK_MS = 1000;
const ENDED = ['idle', 'closed'];

/** Options that need walcast-observe.js. */
const OBSERVING = ['metrics', 'beacon', 'logLevel', 'logger', 'onBuffered'];

const makeError = (kind, cause, what, event) => streamError(kind,
    `${what} failed: ${cause?.message ?? cause}`, { cause, event });

export class WalcastStream {
	/** How the parts that few pages need are loaded; walcast.js sets it. */
	static parts = {};

	#base;
	#options;
	#env;
	#metrics;
	#handlers;
	#intake;
	#outbox;
	#sink;
	#store;
	#backoff;
	#liveness;
	#loop;
	#watch;
	#observed;

	#state = 'idle';
	#loaded;
	#handled = '';
	#turn = 0;
	#timer;
	#close;
	#hub;
	#transport = 'none';
	#held;
	#retryMs = 0;
	#notBefore = 0;
	#parked;
	#wasOffline;
	#token;
	#renewed;
	#openedAt = 0;
	#startedAt = 0;
	#firstEventMs = null;
	#error = null;

	constructor(url, options = {}) {
		const o = { ...options };
		for (const name in DEFAULTS)
			o[name] ??= DEFAULTS[name];
		this.#options = o;
		this.#env = makeEnv(o.env);
		this.#base = baseUrl(url, o, this.#env);
		this.#backoff = new Backoff(o.retry);
		this.#store = pickStore(o, this.#base, this.#env);
		this.#metrics = new Metrics();
		this.#handlers = new Handlers(this, o,
		    (...failure) => this.#onHandlerFailed(...failure));
		this.#intake = this.#makeIntake();
		this.#outbox = this.#makeOutbox();
		this.#sink = this.#makeSink();
		this.#liveness = new Liveness(this.#env,
		    (silence) => this.#onSilence(silence));
	}

	get url() { return this.#base.href; }
	get state() { return this.#state; }
	get lastEventId() { return this.#intake.received; }
	get generation() { return this.#intake.generation; }
	get info() { return this.#intake.info; }

	// ---- what the caller does ----------------------------------------------

	/** Begins, or begins again after what was handled last. */
	connect() {
		if (!ENDED.includes(this.#state))
			return this;
		this.#error = null;
		this.#startedAt = this.#env.now();
		this.#setState('connecting', 'connect');
		if (this.#options.signal?.aborted)
			this.stop('aborted');
		else if (this.#state === 'connecting')
			this.#begin();
		return this;
	}

	/** Ends it; what was received and not handled will be asked for again. */
	stop(reason = 'stopped') {
		if (this.#state === 'closed')
			return;
		this.#finish(reason, null);
		this.#outbox.clear();
	}

	/** A new connection at once, from the same position. */
	restart() {
		this.#noteGood();
		this.#token = null;
		if (ENDED.includes(this.#state))
			this.connect();
		else
			this.#end('restart', 0);
	}

	/** Forgets the position; goes on live from now. */
	startFresh() {
		this.#drop();
		this.#loaded = true;
		this.#handled = '';
		this.#intake.restartAt('');
		this.#outbox.clear();
		this.#useStore('clear');
		this.restart();
	}

	/** Listens to what the stream tells of itself; returns how to stop. */
	on(name, handler) {
		const off = this.#handlers.on(name, handler);
		this.#outbox.drain();
		return off;
	}

	/** As with EventSource: 'open', 'error', or a type of event. */
	addEventListener(type, handler) {
		this.#handlers.listen(type, handler);
		this.#outbox.drain();
	}

	removeEventListener(type, handler) {
		this.#handlers.unlisten(type, handler);
	}

	/**
	 * `for await (const event of stream)`: an event is handled when the loop
	 * asks for the next one.  Leaving the loop stops the stream.
	 */
	async *[Symbol.asyncIterator]() {
		if (this.#loop)
			throw new Error('another loop iterates this stream already');
		const loop = this.#loop = { item: null, wake: null };
		try {
			if (this.#state === 'idle')
				this.connect();
			this.#outbox.drain();
			while (await this.#nextItem(loop)) {
				const { event, done } = loop.item;
				loop.item = null;
				yield event;
				done();
			}
			if (this.#error)
				throw this.#error;
		} finally {
			this.#loop = null;
			this.stop();
		}
	}

	/** Figures of now; counters never go back. */
	stats() {
		return {
			...this.#metrics.counters,
			state: this.#state,
			transport: this.#transport,
			stream: this.info?.stream ?? null,
			generation: this.generation,
			lastEventId: this.lastEventId,
			handledEventId: this.#handled,
			waiting: this.#outbox.size,
			firstEventMs: this.#firstEventMs,
			lagMs: this.#metrics.lag.summary(),
			clockOffsetMs: this.#intake.offsetMs,
			buffered: this.#metrics.buffered,
		};
	}

	// ---- parts -------------------------------------------------------------

	#makeIntake() {
		return new Intake(this.#options, this.#base.searchParams, {
			now: () => this.#env.now(),
			metrics: this.#metrics,
			emit: (name, payload) => this.#emit(name, payload),
			put: (event, id) => this.#put(event, id),
			opened: () => this.#liveness.start(this.#readTimeout()),
			repair: () => this.#state === 'open' && this.#end('gap', 0),
			cannotResume: (gap) => this.#cannotResume(gap),
		});
	}

	#makeOutbox() {
		return new Outbox(this.#options.bufferSize, {
			isWanted: () => this.#loop || this.#handlers.any,
			deliver: (event) => this.#deliver(event),
			handled: (id) => this.#setHandled(id),
			drained: () => this.#onDrained(),
		});
	}

	#onHandlerFailed(cause, name, payload) {
		this.#metrics.count('handlerErrors');
		const isTold = name !== 'error' && this.#report(makeError('handler',
		    cause, `handler of ${name}`, payload));
		if (!isTold)
			this.#env.console.error(cause);
	}

	#emit(name, payload) {
		return this.#handlers.emit(name, payload);
	}

	/** Returns whether anybody listens to errors. */
	#report(error) {
		error.stream = this.info?.stream ?? null;
		this.#metrics.count('errors');
		return this.#emit('error', error).length > 0;
	}

	#setState(to, reason) {
		const from = this.#state;
		if (from === to)
			return;
		this.#state = to;
		this.#emit('stateChange', { from, to, reason });
	}

	// ---- delivery ----------------------------------------------------------

	#put(event, id) {
		if (event) {
			this.#noteGood();
			this.#firstEventMs ??= this.#env.now() - this.#startedAt;
		}
		this.#outbox.put(event, id);
		// Nobody but fetch can be told to wait: come back when there is room.
		if (this.#outbox.isFull && !this.#mayPause() && this.#state === 'open') {
			this.#end('backpressure', null);
			this.#parked = this.#state === 'retrying';
		}
	}

	#mayPause() {
		return this.#transport === 'fetch';
	}

	#deliver(event) {
		const results = this.#handlers.deliver(event);
		const waits = this.#options.sequential
			? results.filter((result) => result?.then) : [];
		if (this.#loop)
			waits.push(this.#offer(event));
		return waits.length > 0 ? Promise.all(waits) : undefined;
	}

	#setHandled(id) {
		if (id === this.#handled)
			return;
		this.#handled = id;
		this.#useStore('save', { id, generation: this.generation });
	}

	/** What the store gives, or nothing; it never throws. */
	#useStore(what, position) {
		const failed = (cause) =>
		    this.#report(makeError('storage', cause, `${what} of the position`));
		try {
			const result = this.#store[what](position);
			return result?.then ? result.then(undefined, failed) : result;
		} catch (cause) {
			failed(cause);
		}
	}

	#onDrained() {
		if (this.#parked)
			this.#attempt('drained');
		this.#loop?.wake?.();
	}

	/** For the loop, which has handled it when `done` is called. */
	#offer(event) {
		return new Promise((done) => {
			this.#loop.item = { event, done };
			this.#loop.wake?.();
		});
	}

	/** False: the stream has ended, and the loop has had what was left. */
	async #nextItem(loop) {
		while (!loop.item) {
			if (this.#state === 'closed' && this.#outbox.size === 0)
				return false;
			await new Promise((resolve) => { loop.wake = resolve; });
		}
		return true;
	}

	// ---- beginning and ending ----------------------------------------------

	async #begin() {
		const turn = ++this.#turn;
		this.#watch = watchPage(this.#env, this.#options.signal,
		    (event) => this.#onPage(event));
		this.#noteGood();
		this.#token = null;
		await this.#startObserving();
		if (!this.#loaded)
			await this.#load();
		else if (this.#handled !== this.lastEventId)
			this.#intake.restartAt(this.#handled);
		if (turn === this.#turn)
			this.#attempt('connect');
	}

	async #startObserving() {
		const o = this.#options;
		if (this.#observed || !OBSERVING.some((name) => o[name]))
			return;
		this.#observed = true;
		await this.#usePart('observe', ({ observe }) => observe(this, o,
		    this.#metrics, this.#env, (...told) => this.#emit(...told)));
	}

	/** What `use` makes of the part; nothing, and told, when it fails. */
	#usePart(name, use) {
		return WalcastStream.parts[name]().then(use).catch((cause) => {
			this.#report(makeError('unsupported', cause, `walcast-${name}.js`));
		});
	}

	async #load() {
		const { generation, lastEventId } = this.#options;
		const kept = await this.#useStore('load');
		if (this.#loaded)
			return;
		this.#loaded = true;
		this.#intake.generation = generation ?? kept?.generation ?? '';
		this.#handled = String(lastEventId ?? kept?.id ?? '');
		this.#intake.received = this.#handled;
	}

	#finish(reason, error) {
		this.#drop();
		this.#hub?.leave();
		this.#hub = null;
		this.#watch?.abort();
		this.#error = error;
		this.#setState('closed', reason);
		this.#emit('close', { reason, willReconnect: false,
			retryIn: null, status: error?.status, error });
		this.#loop?.wake?.();
	}

	#cannotResume(gap) {
		const turn = this.#turn;
		const policy = this.#options.cannotResume;
		const answers = this.#emit('cannotResume', { ...gap, policy });
		const chosen = policy === 'callback' ? answers.pop() : policy;
		if (turn !== this.#turn)
			return;
		if (chosen === 'start_fresh')
			this.startFresh();
		else if (chosen === 'close')
			this.#onEnded(streamError('cannot_resume',
			    `cannot resume after ${gap.requested}: ${gap.code}`,
			    { fatal: true }));
	}

	// ---- connections -------------------------------------------------------

	#attempt(cause) {
		this.#drop();
		const turn = this.#turn;
		this.#setState('connecting', cause);
		if (this.lastEventId !== '')
			this.#emit('resumeAttempt', {
				lastEventId: this.lastEventId,
				generation: this.generation,
				attempt: this.#backoff.attempts,
			});
		if (turn !== this.#turn)
			return;
		this.#metrics.count('attempts');
		this.#intake.begin();
		this.#liveness.start(this.#options.connectTimeoutMs);
		this.#open(this.#sink);
	}

	async #open(sink) {
		const turn = this.#turn;
		const Hub = this.#options.shared &&
		    await this.#usePart('shared', (part) => part.Hub);
		if (turn !== this.#turn)
			return;
		if (Hub) {
			this.#transport = 'shared';
			this.#hub ??= new Hub(this, this.#options, this.#env,
			    (...to) => this.#openDirect(...to));
		}
		this.#close = this.#hub ? this.#hub.open(sink) : this.#openDirect(sink);
	}

	#openDirect(sink, isAlone = !this.#hub) {
		const o = this.#options;
		const useFetch = o.transport !== 'eventsource' && canStream(this.#env);
		const prepare = async () => {
			const token = await this.#askToken();
			return {
				url: requestUrl(this.#base, o, {
					id: this.lastEventId,
					generation: this.generation,
					padding: o.padding ??
					    (this.#held || this.#metrics.buffered),
					inQuery: !useFetch,
					token,
				}),
				init: await requestInit(o, this.lastEventId, token),
			};
		};
		if (isAlone)
			this.#transport = useFetch ? 'fetch' : 'eventsource';
		if (useFetch)
			return openFetch(prepare, sink, this.#env);
		let close = null;
		this.#usePart('eventsource', ({ open }) => {
			close ??= open(prepare, sink, this.#env, o);
		});
		return () => {
			close?.();
			close = false; // also where it is still to be loaded
		};
	}

	/** What a transport tells; one that was closed tells nothing. */
	#makeSink() {
		const { tap, maxLength, events = [] } = this.#options;
		const intake = this.#intake;
		const sink = {
			maxLength,
			error: streamError,
			types: () => ['message', ...this.#handlers.types, ...events],
			isFatal: (status) => this.#isFatal(status),
			ready: () => this.#pause(),
			opened: (answer) => this.#onOpened(answer),
			bytes: (n) => this.#onBytes(n),
			frame: (raw) => intake.frame(raw),
			position: (id) => intake.position(id),
			comment: (text) => intake.comment(text),
			retry: (ms) => { this.#retryMs = ms; },
			ended: (error) => this.#onEnded(error),
		};
		return tap ? tap(sink) : sink;
	}

	/** The connection is closed for real; what it still says is not heard. */
	#drop() {
		this.#turn++;
		this.#env.clearTimeout(this.#timer);
		this.#parked = false;
		this.#liveness.stop();
		const close = this.#close;
		this.#close = null;
		close?.();
	}

	/** While the outbox is full nothing is read, and silence is no sign. */
	async #pause() {
		const turn = this.#turn;
		if (!this.#mayPause() || !this.#outbox.isFull)
			return;
		this.#liveness.stop();
		await this.#outbox.ready();
		if (turn === this.#turn)
			this.#liveness.start(this.#readTimeout());
	}

	#readTimeout() {
		const o = this.#options;
		const beat = this.info?.heartbeat_ms;
		return o.readTimeoutMs ?? (beat > 0
			? beat * o.livenessFactor + SLACK_MS : READ_TIMEOUT_MS);
	}

	// ---- the token ---------------------------------------------------------

	/** Kept until the server has refused or ended it. */
	async #askToken() {
		const turn = this.#turn;
		const { token } = this.#options;
		try {
			const value = this.#token ??
			    (token?.call ? await token() : token);
			// Only what a header can carry: an error of its own says it all.
			if (value && !/^[\w.~+/=-]+$/.test(value))
				throw new TypeError('it has bytes that no token has');
			if (turn === this.#turn)
				this.#token = value;
			return value;
		} catch (cause) {
			throw makeError('token', cause, 'token');
		}
	}

	#noteGood() {
		this.#backoff.reset();
		this.#renewed = false;
	}

	/** True once, until a stream was good: a fresh token may help. */
	#renew() {
		const may = !this.#renewed;
		this.#renewed = true;
		this.#token = null;
		return may;
	}

	/** An EventSource does not tell 401: 0. */
	#isFatal(status) {
		const { fatal = isFinal, token } = this.#options;
		const isStale = [0, 401].includes(status) && token?.call &&
		    this.#renew();
		return !isStale && fatal(status);
	}

	/** What control.close means for the token; null: come back. */
	#judgeClose() {
		const reason = this.#intake.closing?.reason;
		const { token } = this.#options;
		if (reason === 'auth_expired')
			this.#token = null;
		return (reason === 'revoked' && !this.#renew()) ||
		    (reason === 'auth_expired' && token && !token.call)
			? streamError(reason, `the server closed it: ${reason}`,
			    { fatal: true })
			: null;
	}

	// ---- what happens to a connection --------------------------------------

	#onOpened({ status, stream }) {
		const reconnect = this.#metrics.counters.opens > 0;
		this.#wasOffline = false;
		this.#openedAt = this.#env.now();
		this.#metrics.count('opens');
		if (reconnect)
			this.#metrics.count('reconnects');
		this.#liveness.start(this.#readTimeout());
		this.#setState('open', 'opened');
		if (this.#state === 'open')
			this.#emit('open', { status, stream, reconnect,
				transport: this.#transport,
				attempt: this.#backoff.attempts });
	}

	#onBytes(n) {
		this.#liveness.heard();
		this.#metrics.count('bytes', n);
	}

	#onSilence(silence) {
		const wasOpen = this.#state === 'open';
		const { cause, silentMs } = silence;
		if (wasOpen) {
			this.#metrics.count('livenessFailures');
			this.#emit('livenessFailure', silence);
		} else {
			this.#held = true;
		}
		this.#onEnded(streamError('timeout', wasOpen
			? `nothing came for ${silentMs} ms (${cause})`
			: `no answer within ${silentMs} ms`));
	}

	#onEnded(told) {
		const turn = this.#turn;
		const error = this.#judgeClose() ?? told;
		if (error?.kind === 'no_content') {
			this.#finish(error.kind, null);
			return;
		}
		if (error)
			this.#report(error);
		if (turn !== this.#turn)
			return;
		if (error?.fatal)
			this.#finish(error.kind, error);
		else
			this.#retry(error);
	}

	#retry(error) {
		const now = this.#env.now();
		const closing = this.#intake.closing;
		const asked = closing?.retry_ms ?? error?.retryAfterMs;
		if (this.#state === 'open' && now - this.#openedAt >= STABLE_MS)
			this.#noteGood();
		const delay = this.#backoff.next(now, this.#env.random(),
		    Math.max(asked ?? 0, this.#retryMs));
		if (delay === null) {
			this.#giveUp(error);
			return;
		}
		this.#notBefore = asked === undefined ? 0 : now + asked;
		this.#end(closing?.reason ?? error?.kind ?? 'ended', delay, error);
	}

	#giveUp(error) {
		const turn = this.#turn;
		const { attempts, limit } = this.#backoff;
		this.#emit('giveUp', { reason: limit, attempts, error });
		if (turn === this.#turn)
			this.#finish('gave_up', streamError('gave_up',
			    `no connection after ${attempts} attempts`,
			    { cause: error }));
	}

	/** This connection is over; the next one in `delay` ms, null: not by time. */
	#end(reason, delay, error = null) {
		const wasOpen = this.#state === 'open';
		this.#drop();
		const turn = this.#turn;
		this.#setState('retrying', reason);
		if (wasOpen && turn === this.#turn)
			this.#emit('close', { reason, willReconnect: true,
				retryIn: delay, status: error?.status, error });
		if (turn !== this.#turn || delay === null)
			return;
		this.#emit('retry', { reason, retryIn: delay,
			attempt: this.#backoff.attempts, error });
		if (turn === this.#turn)
			this.#timer = this.#env.setTimeout(
			    () => this.#attempt('retry'), delay);
	}

	// ---- what the page tells -----------------------------------------------

	#onPage({ type, persisted }) {
		const isOpen = this.#state === 'open';
		if (this.#state === 'closed')
			return; // Node may still call what was taken back
		if (type === 'abort')
			this.stop('aborted');
		else if (type === 'offline')
			this.#wasOffline = true;
		else if (type === 'pagehide' || type === 'freeze')
			// A cache keeps no page that has a connection.
			this.#end(type, null);
		else if (type === 'online' && isOpen && this.#wasOffline)
			this.#end(type, 0);
		else if (type === 'pageshow' ? persisted : type !== 'visibilitychange' ||
		    this.#env.document.visibilityState === 'visible')
			this.#wake(type);
	}

	/** The way may be free again: do not sit out the delay. */
	#wake(cause) {
		if (this.#state === 'open')
			this.#liveness.check();
		else if (this.#state === 'retrying' && !this.#parked &&
		    this.#env.now() >= this.#notBefore)
			this.#attempt(cause);
	}
}
