// SPDX-License-Identifier: MIT
//
// One connection for all tabs of a site (option `shared`).
//
// The tab that holds a Web Lock is the leader: it runs a stream of its own, the
// upstream, and tells what comes on it to all tabs by BroadcastChannel; its own
// stream listens like the others.  Each tab keeps its own position, books and
// store, so none depends on what another one has handled.
//
// A message is one of
//   {kind: 'hello'}                a tab asks who leads
//   {kind: 'welcome', up, tip, stream, open}
//                                  the leader's answer, and its announcement
//                                  whenever the upstream opened; tip is the
//                                  position of the upstream, open the data of
//                                  its control.open
//   {kind: 'tell', what, value, after}
//                                  a frame, position or comment; `after` is the
//                                  upstream's position before it
//   {kind: 'down', reason}         the upstream lost its connection
//
// What makes it exact is `after`.  Between `after` and the frame's id there is
// nothing for these channels.  A tab at position C
//   - skips a frame with id <= C,
//   - takes it when after <= C: nothing is missing,
//   - else is behind: it opens a private connection from C, which brings what
//     it lacks, until its position reaches the tip; then it listens again.
// So it does not matter whether a leader died before, while or after it told
// something, who comes next or from where: the next one goes on from its own
// position, and whoever is behind that sees it by `after`.  A tab that joins
// with an older position is behind in the same way; one that wants live from
// now takes the tip.  A gap that the server tells is passed on to tabs that were
// where the upstream was; another tab asks for itself, and so does each one when
// the log is another one (generation).
//
// A leader that hangs keeps the lock but does not answer: a tab that got no
// welcome steals the lock.  Two leaders at once only tell things twice.
//
// Where there are no locks or channels, or using them throws (cookies blocked,
// a frame without allow-same-origin), or nothing comes of it, the tab is alone:
// it shares nothing from then on and has a connection of its own.

const ANSWER_MS = 3000;
const ANSWER_SPREAD_MS = 1000;

const rank = (id) => (/^\d+$/.test(id) ? Number(id) : NaN);
const CONTROL = /^(control|system)\./;

export class Hub {
	#stream;
	#options;
	#env;
	#openDirect;
	#name;
	#channel;
	#unwatch;

	#sink = null;
	#joined = false;
	#isAlone = false;
	#private = null;
	#tip = '';
	#answerTimer = null;

	#term = 0;
	#asking = null;
	#resign = null;
	#upstream = null;
	#open = null;

	/**
	 * openDirect(sink, isAlone): a connection of this tab, from its position;
	 * isAlone: it is the stream's own, not beside what all tabs share.
	 */
	constructor(stream, options, env, openDirect) {
		this.#stream = stream;
		this.#options = options;
		this.#env = env;
		this.#openDirect = openDirect;
		this.#name = `walcast ${stream.url} ${options.shared}`;
		this.#unwatch = this.#watchPage();
		try {
			this.#channel = new env.BroadcastChannel(this.#name);
			this.#channel.onmessage = ({ data }) => this.#hear(data);
		} catch {
			this.#isAlone = true;
		}
	}

	/** A transport: tells `sink` what comes; returns how to close it. */
	open(sink) {
		this.#sink = sink;
		this.#joined = false;
		if (this.#isAlone)
			this.#private = this.#openDirect(sink, true);
		else if (this.#upstream)
			this.#hear(this.#welcome());
		else
			this.#ask();
		return () => this.#detach();
	}

	/** The stream has ended: another tab may lead. */
	leave() {
		this.#detach();
		this.#stepDown();
		this.#unwatch();
		this.#channel?.close();
	}

	#detach() {
		this.#sink = null;
		this.#joined = false;
		this.#closePrivate();
		this.#env.clearTimeout(this.#answerTimer);
	}

	#post(message) {
		if (!this.#isAlone)
			this.#channel.postMessage(message);
	}

	/** Sharing does not work here, and trying again would not help. */
	#stayAlone() {
		const sink = this.#sink;
		const wasJoined = this.#joined;
		this.#isAlone = true;
		this.#detach();
		this.#stepDown();
		this.#channel.close();
		if (sink && wasJoined)
			sink.ended(sink.error('network',
			    'the stream of all tabs cannot be shared any more'));
		else if (sink)
			this.open(sink);
	}

	// ---- leading -----------------------------------------------------------

	/** Waits for the lock, and asks who has it. */
	#ask() {
		this.#answerIn(ANSWER_MS + this.#env.random() * ANSWER_SPREAD_MS,
		    () => {
			this.#answerIn(ANSWER_MS, () => this.#stayAlone());
			this.#requestLock(true);
		    });
		this.#post({ kind: 'hello' });
		if (!this.#asking)
			this.#requestLock(false);
	}

	#answerIn(ms, otherwise) {
		this.#env.clearTimeout(this.#answerTimer);
		this.#answerTimer = this.#env.setTimeout(otherwise, ms);
	}

	async #requestLock(steal) {
		const term = ++this.#term;
		this.#asking?.abort();
		this.#asking = new AbortController();
		const how = steal ? { steal } : { signal: this.#asking.signal };
		try {
			await this.#env.navigator.locks.request(this.#name, how, () => {
				if (term !== this.#term)
					return undefined;
				this.#lead();
				return new Promise((resolve) => { this.#resign = resolve; });
			});
		} catch (cause) {
			if (term !== this.#term)
				return; // aborted by us
			if (cause?.name === 'AbortError' && this.#upstream)
				this.#onStolen();
			else
				this.#stayAlone();
		}
	}

	#lead() {
		this.#env.clearTimeout(this.#answerTimer);
		this.#upstream = new this.#stream.constructor(this.#stream.url, {
			...this.#upstreamOptions(),
			tap: (sink) => this.#tap(sink),
			lastEventId: this.#stream.lastEventId,
			generation: this.#stream.generation,
		});
		this.#upstream.on('open', () => this.#announce());
		this.#upstream.on('retry', ({ reason, retryIn, error }) =>
		    retryIn > 0 && this.#share({ kind: 'down',
			    reason: error?.message ?? reason }));
		this.#upstream.on('close', (close) => this.#onUpstreamClosed(close));
		this.#upstream.connect();
	}

	/** What makes a connection, without handlers and what they see. */
	#upstreamOptions() {
		const { env, token, headers, method, body, credentials, retry, fatal,
			transport, padding, last, maxLength, connectTimeoutMs,
			readTimeoutMs, livenessFactor } = this.#options;
		return { env, token, headers, method, body, credentials, retry, fatal,
			transport, padding, last, maxLength, connectTimeoutMs,
			readTimeoutMs, livenessFactor, envelope: false, onEvent() {} };
	}

	/** Between the upstream's connection and its books: events are not for it. */
	#tap(sink) {
		const tell = (what, value, take) => {
			const after = this.#upstream.lastEventId;
			take();
			this.#share({ kind: 'tell', what, value, after });
		};
		const control = (raw) => {
			sink.frame(raw);
			if (raw.type !== 'control.open')
				return;
			this.#open = JSON.parse(raw.data);
			this.#announce();
		};
		return {
			...sink,
			position: (id) => tell('position', { id, hasId: true },
			    () => sink.position(id)),
			comment: (text) => tell('comment', text, () => sink.comment(text)),
			frame: (raw) => {
				if (raw.type === 'control.open' ||
				    raw.type === 'control.close')
					control(raw);
				else
					tell('frame', raw, () => (CONTROL.test(raw.type)
						? sink.frame(raw) : sink.position(raw.id)));
			},
		};
	}

	#onUpstreamClosed({ willReconnect, reason, error }) {
		this.#open = null;
		if (willReconnect || !this.#upstream)
			return;
		const { message = '' } = error ?? {};
		this.#sink?.ended(this.#sink.error(reason, message, { ...error,
			fatal: true }));
	}

	#stepDown() {
		this.#term++;
		this.#asking?.abort();
		this.#asking = null;
		const upstream = this.#upstream;
		this.#upstream = this.#open = null;
		upstream?.stop();
		this.#resign?.();
		this.#resign = null;
	}

	#onStolen() {
		this.#stepDown();
		if (this.#sink)
			this.#ask();
	}

	/** A page that sleeps must not lead, and one with a lock is not cached. */
	#watchPage() {
		const { window: page, document } = this.#env;
		const sleep = () => this.#stepDown();
		page?.addEventListener?.('pagehide', sleep);
		document?.addEventListener?.('freeze', sleep);
		return () => {
			page?.removeEventListener?.('pagehide', sleep);
			document?.removeEventListener?.('freeze', sleep);
		};
	}

	#welcome() {
		const { state, lastEventId } = this.#upstream;
		const { clockOffsetMs, stream } = this.#upstream.stats();
		// A tab reads the clock of now, and what comes after the tip is live.
		const open = this.#open && { ...this.#open,
			server_time_ms: this.#env.now() + clockOffsetMs,
			head: Math.max(this.#open.head, rank(lastEventId) || 0) };
		return { kind: 'welcome', up: state === 'open', tip: lastEventId,
			stream, open };
	}

	#announce() {
		this.#share(this.#welcome());
	}

	/** To all tabs, this one too. */
	#share(message) {
		this.#post(message);
		this.#hear(message);
	}

	// ---- listening ---------------------------------------------------------

	#hear(message) {
		if (message.kind === 'hello' && this.#upstream)
			this.#post(this.#welcome());
		else if (message.kind === 'welcome')
			this.#hearWelcome(message);
		else if (message.kind === 'tell')
			this.#hearTell(message);
		else if (message.kind === 'down' && !this.#private)
			this.#sink?.ended(this.#sink.error('network',
			    `the stream of all tabs lost its connection: ${message.reason}`));
	}

	#hearWelcome({ up, tip, stream, open }) {
		this.#env.clearTimeout(this.#answerTimer);
		if (!up || !this.#sink)
			return;
		this.#tip = tip;
		if (this.#private)
			return;
		if (!this.#joined)
			this.#sink.opened({ status: 200, stream });
		this.#joined = true;
		const here = this.#stream.lastEventId;
		if (this.#isBehind(tip) || this.#isOtherLog(open))
			this.#catchUp();
		else if (open)
			this.#tellOpen(open, here === '' ? tip : here);
		else if (here === '' && tip !== '')
			this.#sink?.position(tip);
	}

	/** control.open, as it would be at this tab's position. */
	#tellOpen(open, id) {
		this.#sink?.frame({ id, hasId: id !== '', type: 'control.open',
			data: JSON.stringify(open) });
	}

	/** 'earliest', or what is no id at all, is for the server to judge. */
	#isBehind(id) {
		const here = this.#stream.lastEventId;
		return here !== '' && rank(id) >= 0 && !(rank(here) >= rank(id));
	}

	#isOtherLog(open) {
		const known = this.#stream.generation;
		return known !== '' && open !== null && open.generation !== known &&
		    this.#stream.lastEventId !== '';
	}

	#hearTell({ what, value, after }) {
		if (what !== 'comment' && value.hasId)
			this.#tip = value.id;
		if (!this.#joined || this.#private)
			return;
		this.#sink.bytes(0);
		if (what === 'comment')
			this.#sink.comment(value);
		else if (value.type === 'control.gap')
			this.#hearGap(value, after);
		else if (this.#isBehind(after))
			this.#catchUp();
		else if (!value.hasId || !this.#has(value.id))
			this.#sink[what](what === 'position' ? value.id : value);
	}

	#has(id) {
		return rank(id) <= rank(this.#stream.lastEventId);
	}

	#hearGap(raw, after) {
		if (this.#stream.lastEventId === after)
			this.#sink.frame(raw);
		else
			this.#catchUp();
	}

	// ---- catching up -------------------------------------------------------

	#closePrivate() {
		const close = this.#private;
		this.#private = null;
		close?.();
	}

	#catchUp() {
		const sink = this.#sink;
		if (!sink || this.#private)
			return;
		const met = (tell) => (value) => {
			tell(value);
			if (value.type !== 'control.open' && !this.#isBehind(this.#tip))
				this.#closePrivate();
		};
		this.#private = this.#openDirect({
			...sink,
			opened() {},
			frame: met(sink.frame),
			position: met(sink.position),
			ended: (error) => {
				this.#private = null;
				sink.ended(error);
			},
		});
	}
}
