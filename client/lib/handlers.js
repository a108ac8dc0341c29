// SPDX-License-Identifier: MIT
//
// The caller's functions.  One that throws, or whose promise is rejected, is
// reported and costs nothing else.

/** What EventSource tells of itself; its other names are types of events. */
const NOT_TYPES = ['open', 'error'];
const TYPE = 'type ';

export class Handlers {
	/** Is there anybody who takes events? */
	any = false;

	#sets = {};
	#target;
	#onFailed;

	/**
	 * target: `this` of each; options: onOpen and so on, as given;
	 * onFailed(cause, name, payload)
	 */
	constructor(target, options, onFailed) {
		this.#target = target;
		this.#onFailed = onFailed;
		for (const [key, handler] of Object.entries(options))
			if (/^on[A-Z]/.test(key) && handler)
				this.on(key[2].toLowerCase() + key.slice(3), handler);
	}

	/** Returns a function that takes it back. */
	on(name, handler) {
		const set = this.#sets[name] ??= new Set();
		set.add(handler);
		if (name === 'event' || name.startsWith(TYPE))
			this.any = true;
		return () => set.delete(handler);
	}

	listen(type, handler) {
		this.on(NOT_TYPES.includes(type) ? type : TYPE + type, handler);
	}

	unlisten(type, handler) {
		this.#sets[type]?.delete(handler);
		this.#sets[TYPE + type]?.delete(handler);
	}

	/** The types of event that somebody listens to. */
	get types() {
		return Object.keys(this.#sets).filter((name) => name.startsWith(TYPE))
		    .map((name) => name.slice(TYPE.length));
	}

	/** What the handlers returned; a promise of theirs is never rejected. */
	emit(name, payload) {
		return [...this.#sets[name] ?? []].map((handler) => {
			const failed = (cause) => this.#onFailed(cause, name, payload);
			try {
				const result = handler.call(this.#target, payload);
				return result?.then
					? result.then(undefined, failed) : result;
			} catch (cause) {
				failed(cause);
			}
		});
	}

	deliver(event) {
		return [...this.emit('event', event),
			...this.emit(TYPE + event.type, event)];
	}
}
