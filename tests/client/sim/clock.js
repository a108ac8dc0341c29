// SPDX-License-Identifier: MIT
//
// Time that only moves when a test says so.

/** Lets promises and streams that can go on without time do so. */
export async function settle(rounds = 12) {
	for (let i = 0; i < rounds; i++)
		await new Promise(setImmediate);
}

export class Clock {
	#now = 1767225600000;
	#timers = new Map();
	#next = 1;

	now = () => this.#now;

	setTimeout = (f, ms) => {
		const id = this.#next++;
		this.#timers.set(id, { f, at: this.#now + Math.max(0, ms) });
		return id;
	};

	clearTimeout = (id) => {
		this.#timers.delete(id);
	};

	get pending() {
		return this.#timers.size;
	}

	/** Milliseconds until the next timer; Infinity: there is none. */
	get untilNext() {
		return Math.min(...[...this.#timers.values()].map((t) => t.at)) -
		    this.#now;
	}

	/** Runs what is due within `ms`, in order. */
	async advance(ms) {
		const end = this.#now + ms;
		await settle();
		for (;;) {
			const due = [...this.#timers].filter(([, t]) => t.at <= end)
			    .sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
			if (!due)
				break;
			this.#timers.delete(due[0]);
			this.#now = Math.max(this.#now, due[1].at);
			due[1].f();
			await settle();
		}
		this.#now = end;
		await settle();
	}

	/** The machine slept: no timer ran meanwhile. */
	sleep(ms) {
		this.#now += ms;
	}

	/** Somebody sets the clock; timers do not go by it. */
	set(ms) {
		this.#now += ms;
		for (const timer of this.#timers.values())
			timer.at += ms;
	}
}

/** Numbers in [0, 1) that are the same in each run (mulberry32). */
export function seeded(seed) {
	let a = seed >>> 0;
	return () => {
		a = (a + 0x6d2b79f5) | 0;
		let t = Math.imul(a ^ (a >>> 15), 1 | a);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}
