// SPDX-License-Identifier: MIT
//
// Is the connection alive?  Any byte is life.  A timer that comes far too late,
// or a clock that jumped, means that this side slept: what waits in the socket
// is read first, and only silence after that is death.
//
// The timer is not set anew for each byte, it looks back when it fires.

const GRACE_MS = 2000;

export class Liveness {
	#env;
	#onDead;
	#timer = null;
	#timeout = 0;
	#heardAt = 0;
	#cause = 'timeout';

	/** onDead({cause, silentMs, timeoutMs}); cause 'timeout' or 'sleep'. */
	constructor(env, onDead) {
		this.#env = env;
		this.#onDead = onDead;
	}

	/** Watches from now on; 0 watches nothing. */
	start(timeoutMs) {
		this.stop();
		this.#timeout = timeoutMs;
		this.#heardAt = this.#env.now();
		if (timeoutMs > 0)
			this.#arm(timeoutMs);
	}

	heard() {
		this.#heardAt = this.#env.now();
	}

	stop() {
		this.#env.clearTimeout(this.#timer);
		this.#timer = null;
		this.#cause = 'timeout';
	}

	/** The page was away: look whether the connection outlived it. */
	check() {
		if (this.#timer !== null)
			this.#look(true);
	}

	#silence() {
		const now = this.#env.now();
		if (now < this.#heardAt)
			this.#heardAt = now;
		return now - this.#heardAt;
	}

	#arm(ms) {
		this.#env.clearTimeout(this.#timer);
		const dueAt = this.#env.now() + ms;
		this.#timer = this.#env.setTimeout(
		    () => this.#look(this.#env.now() - dueAt > GRACE_MS), ms);
	}

	/** slept: this side was away, and bytes may wait in the socket. */
	#look(slept) {
		const silentMs = this.#silence();
		const timeoutMs = this.#timeout;
		if (silentMs < timeoutMs) {
			this.#cause = 'timeout';
			this.#arm(timeoutMs - silentMs);
		} else if (slept && this.#cause === 'timeout') {
			this.#cause = 'sleep';
			this.#arm(GRACE_MS);
		} else {
			const cause = this.#cause;
			this.stop();
			this.#onDead({ cause, silentMs, timeoutMs });
		}
	}
}

/** What of the page concerns a stream; returns an AbortController to end it. */
export function watchPage({ window: page, document }, signal, handler) {
	const watch = new AbortController();
	for (const [target, types] of [
		[page, 'online offline pageshow pagehide'],
		[document, 'freeze resume visibilitychange'],
		[signal, 'abort'],
	])
		for (const type of types.split(' '))
			target?.addEventListener?.(type, handler, watch);
	return watch;
}
