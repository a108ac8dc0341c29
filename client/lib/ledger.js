// SPDX-License-Identifier: MIT
//
// Which events the handler has had, so that it gets each one once and a
// missing one is noticed.  Pure: time is passed in.
//
// Two books:
//   seen      the newest ids, bounded by number and age.  Works for any ids.
//   channels  the newest id of each channel, where envelopes tell the channel
//             and prev, the id before on it.  With it a repeat is known however
//             long ago it was, and a hole at once: prev is newer than what we
//             have.
// floor is where the stream began: what is at or below it is not our business.
// Without a known beginning, a channel's first event cannot be judged.

const UNKNOWN = -1;

/** An id as a number to compare; NaN when it is none of ours. */
export const rank = (id) => (/^\d+$/.test(id) ? Number(id) : NaN);

export class Ledger {
	#seen = new Map();
	#channels = new Map();
	#floor = UNKNOWN;
	#last = UNKNOWN;
	#evicted = false;
	#max;
	#ttl;
	#prove;

	/** prove: whether prev may be trusted (no filter by type). */
	constructor({ max = 10000, ttlMs = 600000, prove = true } = {}) {
		this.#max = max;
		this.#ttl = ttlMs;
		this.#prove = prove;
	}

	/** The newest id that was taken; -1: none. */
	get last() {
		return this.#last;
	}

	/** The stream begins after this id; known once, a reconnect is no start. */
	beginAt(id) {
		if (this.#floor === UNKNOWN)
			this.skipTo(id);
	}

	/** What is at or below this id, and was not seen, will not come any more. */
	skipTo(id) {
		const at = rank(id);
		if (at > this.#floor)
			this.#floor = at;
	}

	/** Another log: ids begin anew. */
	forget() {
		this.#seen.clear();
		this.#channels.clear();
		this.#floor = this.#last = UNKNOWN;
		this.#evicted = false;
	}

	/**
	 * 'new', 'duplicate', 'outOfOrder' or 'gap'; changes nothing.
	 * Of an event without an id of its own nothing can be said: 'new'.
	 */
	judge(event, now) {
		if (event.id === '')
			return 'new';
		const id = rank(event.id);
		const had = this.#channels.get(event.channel);
		if (now - this.#seen.get(event.id) < this.#ttl || id <= had)
			return 'duplicate';
		const provable = this.#prove && event.channel !== undefined &&
		    (had !== undefined || !this.#evicted);
		const upTo = provable ? this.after(event.channel) : UNKNOWN;
		if (id <= (upTo === UNKNOWN ? this.#last : upTo))
			return 'outOfOrder';
		return upTo !== UNKNOWN && event.prev > upTo ? 'gap' : 'new';
	}

	/** Up to which id everything on the channel was seen; -1: not known. */
	after(channel) {
		return Math.max(this.#channels.get(channel) ?? UNKNOWN, this.#floor);
	}

	/** The event goes to the handler. */
	note(event, now) {
		if (event.id === '')
			return;
		const id = rank(event.id);
		this.#seen.delete(event.id);
		this.#seen.set(event.id, now);
		for (const [old, at] of this.#seen) {
			if (this.#seen.size <= this.#max && now - at < this.#ttl)
				break;
			this.#seen.delete(old);
		}
		if (id > this.#last)
			this.#last = id;
		if (event.channel !== undefined && this.#prove)
			this.#noteChannel(event.channel, id);
	}

	#noteChannel(channel, id) {
		this.#channels.delete(channel);
		this.#channels.set(channel, id);
		if (this.#channels.size <= this.#max)
			return;
		this.#channels.delete(this.#channels.keys().next().value);
		this.#evicted = true;
	}
}
