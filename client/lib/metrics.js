// SPDX-License-Identifier: MIT
//
// What a stream has counted, and the lags of live events.

const LAGS = 512;

/** The newest values and their percentiles. */
export class Window {
	#values = [];

	add(value) {
		if (this.#values.push(value) > LAGS)
			this.#values.shift();
	}

	/** {n, p50, p95, p99, max} of the newest 512; nulls when there is none. */
	summary() {
		const sorted = this.#values.slice().sort((a, b) => a - b);
		const n = sorted.length;
		const at = (part) => sorted[Math.ceil(part * n) - 1] ?? null;
		return { n, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
	}
}

export class Metrics {
	counters = {
		events: 0, bytes: 0, heartbeats: 0, attempts: 0, opens: 0,
		reconnects: 0, duplicates: 0, outOfOrder: 0, gaps: 0, missing: 0,
		recovered: 0, errors: 0, handlerErrors: 0, livenessFailures: 0,
	};
	lag = new Window();
	/** Events with spread times arrive together; the part that sees it tells. */
	buffered = false;
	/** Who is told each change: ('count' or 'observe', name, value, ts). */
	tell = null;

	count(name, by = 1) {
		this.counters[name] += by;
		this.tell?.('count', name, by);
	}

	/** ts: when the event was published. */
	addLag(ms, ts) {
		this.lag.add(ms);
		this.tell?.('observe', 'lagMs', ms, ts);
	}
}
