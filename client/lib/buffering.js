// SPDX-License-Identifier: MIT
//
// Does something on the path hold events back?  Live events that were
// published over seconds and arrive in one moment, twice on a stream, say so.
// Pure.

const MOMENT_MS = 50;
const SPREAD_MS = 2000;
const FEW = 3;
const BURSTS = 2;

export class BufferWatch {
	#bursts = 0;
	#events = 0;
	#firstTs = 0;
	#lastAt = -Infinity;
	#counted = false;

	/**
	 * ts: when it was published, now: when it came.  Returns
	 * {events, spreadMs} at the moment at which it is clear, else null.
	 */
	add(ts, now) {
		if (now - this.#lastAt > MOMENT_MS) {
			this.#events = 0;
			this.#firstTs = ts;
			this.#counted = false;
		}
		this.#lastAt = now;
		this.#events++;
		const spreadMs = ts - this.#firstTs;
		if (this.#counted || this.#events < FEW || spreadMs < SPREAD_MS)
			return null;
		this.#counted = true;
		return ++this.#bursts === BURSTS
			? { events: this.#events, spreadMs } : null;
	}

	/** Here nothing was read for a while: what comes now proves nothing. */
	reset() {
		this.#bursts = 0;
		this.#lastAt = -Infinity;
	}
}
