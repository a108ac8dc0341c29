// SPDX-License-Identifier: MIT
//
// How long to wait before the next attempt.  Pure: time and chance are passed
// in.
//
// delay = floor + ceiling * (1 - jitter) + ceiling * jitter * random
//
// ceiling grows from initialDelayMs by multiplier up to maxDelayMs.  floor is
// what the server asked for (retry:, Retry-After), which it spreads itself; it
// is added, not a minimum, so that the clients of one restart stay spread.

const STANDARD = {
	initialDelayMs: 1000,
	maxDelayMs: 30000,
	multiplier: 2,
	jitter: 1,
	maxAttempts: Infinity,
	maxElapsedMs: Infinity,
};

/** What differs from the standard. */
export const PRESETS = {
	aggressive: { initialDelayMs: 250, maxDelayMs: 5000, multiplier: 1.5 },
	standard: {},
	conservative: { initialDelayMs: 5000, maxDelayMs: 300000 },
	none: { maxAttempts: 0 },
};

export class Backoff {
	/** Attempts in a row that did not lead to a stream that lasted. */
	attempts = 0;
	/** Which limit ended it: 'max_attempts', 'max_elapsed' or ''. */
	limit = '';

	#options;
	#since = 0;

	/** A preset's name, or its members; those that are missing: standard. */
	constructor(retry = 'standard') {
		const given = typeof retry === 'string' ? PRESETS[retry] : retry;
		if (!given)
			throw new TypeError(`option retry: no preset "${retry}"`);
		this.#options = { ...STANDARD, ...given };
	}

	/** Milliseconds until the next attempt; null: none is allowed. */
	next(now, random, floor = 0) {
		const o = this.#options;
		if (this.attempts === 0)
			this.#since = now;
		this.limit = '';
		if (this.attempts >= o.maxAttempts)
			this.limit = 'max_attempts';
		else if (now - this.#since >= o.maxElapsedMs)
			this.limit = 'max_elapsed';
		if (this.limit)
			return null;
		const ceiling = Math.min(o.maxDelayMs,
		    o.initialDelayMs * o.multiplier ** this.attempts++);
		return Math.round(floor +
		    ceiling * (1 - o.jitter + o.jitter * random));
	}

	reset() {
		this.attempts = 0;
	}
}
