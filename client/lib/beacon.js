// SPDX-License-Identifier: MIT
//
// What the page sees of its stream, told to the site at most once a minute and
// when the page goes: sse-metrics.fcgi(8), "Beacons".  The server refuses a
// beacon whose numbers are out of bounds, so they are cut to them here.

export const EVERY_MS = 60000;
const MAX_LAGS = 20;
const MAX_MS = 3600000;
const MAX_COUNT = 10000;

/** Of all tabs, one streams by fetch. */
const FALLBACK = { shared: 'fetch' };

const cut = (value, max) => Math.min(Math.max(Math.round(value), 0), max);

export class Beacon {
	#url;
	#env;
	#stream;
	#counts = {};
	#sentAt;
	#saidFirst = false;
	#lags = [];
	#nLags = 0;
	#shownAt = null;
	#visibleMs = 0;

	/** stream: its stats() are read when a beacon is sent. */
	constructor(url, stream, env) {
		this.#url = url;
		this.#env = env;
		this.#stream = stream;
		this.#sentAt = env.now();
		this.noteVisible(env.document?.visibilityState !== 'hidden');
	}

	/** Keeps an even sample of those since the last beacon. */
	noteLag(ms) {
		const n = this.#nLags++;
		const at = n < MAX_LAGS ? n : Math.floor(this.#env.random() * (n + 1));
		if (at < MAX_LAGS)
			this.#lags[at] = cut(ms, MAX_MS);
	}

	noteVisible(visible) {
		const now = this.#env.now();
		if (this.#shownAt !== null)
			this.#visibleMs += Math.max(0, now - this.#shownAt);
		this.#shownAt = visible ? now : null;
	}

	/** Sends when a minute has passed, or the page goes. */
	send(leaving) {
		const now = this.#env.now();
		if (!leaving && now - this.#sentAt < EVERY_MS)
			return;
		this.#sentAt = now;
		this.noteVisible(this.#shownAt !== null);
		this.#post(JSON.stringify(this.#body(this.#stream.stats())));
		this.#lags = [];
		this.#nLags = this.#visibleMs = 0;
	}

	#body(stats) {
		const first = this.#saidFirst ? null : stats.firstEventMs;
		this.#saidFirst ||= first !== null;
		return {
			first_event_ms: first === null ? null : cut(first, MAX_MS),
			lag_ms: this.#lags,
			reconnects: this.#since('reconnects', stats),
			gaps: this.#since('gaps', stats),
			duplicates: this.#since('duplicates', stats),
			missing: this.#since('missing', stats),
			buffered: stats.buffered,
			fallback: FALLBACK[stats.transport] ?? stats.transport,
			visible_ms: cut(this.#visibleMs, MAX_MS),
		};
	}

	/** The count since the last beacon. */
	#since(name, stats) {
		const before = this.#counts[name] ?? 0;
		this.#counts[name] = stats[name];
		return cut(stats[name] - before, MAX_COUNT);
	}

	#post(body) {
		const { navigator, fetch } = this.#env;
		if (navigator?.sendBeacon?.(this.#url, body))
			return;
		fetch?.(this.#url, { method: 'POST', body, keepalive: true,
			headers: { 'Content-Type': 'text/plain' } }).catch(() => {});
	}
}
