// SPDX-License-Identifier: MIT
//
// What was received and not yet handled, in order.  An item is an event, or
// only a position; its id counts as handled when the handler has returned, or
// when the promise it gave is settled and the next event waits for it.

export class Outbox {
	#items = [];
	#busy = false;
	#go;
	#epoch = 0;
	#max;
	#on;

	/**
	 * on: {
	 *   isWanted()      is there anybody to take events?
	 *   deliver(event)  undefined, or a promise: the next one waits for it
	 *   handled(id)     up to here all is done
	 *   drained()       there is room again
	 * }
	 */
	constructor(max, on) {
		this.#max = max;
		this.#on = on;
	}

	get size() {
		return this.#items.length + (this.#busy ? 1 : 0);
	}

	get isFull() {
		return this.#items.length >= this.#max;
	}

	/** event null: a position; of several in a row the last one counts. */
	put(event, id) {
		if (!event && this.#items.at(-1)?.event === null)
			this.#items.pop();
		this.#items.push({ event, id });
		this.drain();
	}

	/** Of a full one: a promise that is fulfilled when there is room. */
	ready() {
		return new Promise((resolve) => { this.#go = resolve; });
	}

	/** What was not handled is forgotten. */
	clear() {
		this.#items = [];
		this.#busy = false;
		this.#epoch++;
		this.#makeRoom();
	}

	drain() {
		while (!this.#busy && this.#items.length > 0 && this.#on.isWanted()) {
			const { event, id } = this.#items.shift();
			const pending = event && this.#on.deliver(event);
			if (pending)
				this.#waitFor(pending, id);
			else
				this.#on.handled(id);
		}
		if (!this.isFull)
			this.#makeRoom();
	}

	#waitFor(pending, id) {
		const epoch = this.#epoch;
		this.#busy = true;
		pending.then(() => {
			if (epoch !== this.#epoch)
				return;
			this.#busy = false;
			this.#on.handled(id);
			this.drain();
		});
	}

	#makeRoom() {
		this.#go?.();
		this.#on.drained();
	}
}
