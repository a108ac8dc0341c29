// SPDX-License-Identifier: MIT
//
// Tabs of one site: Web Locks and BroadcastChannel between them.  Messages are
// delivered when the test says so, or each at its own time by chance, but those
// of one sender to one receiver in order, as in browsers.

import { Page, WalcastStream, CALLBACKS } from './setup.js';
import { seeded } from './clock.js';

/** Exclusive locks of one site, with steal and abort. */
class Locks {
	#held = new Map();
	#queues = new Map();

	/** What navigator.locks is in this tab. */
	for(tab) {
		return { request: (name, options, callback) =>
		    this.#request(tab, name, options, callback) };
	}

	/** The tab is gone, or its page is: all its locks and requests. */
	drop(tab) {
		for (const queue of this.#queues.values())
			queue.splice(0, queue.length, ...queue.filter((r) => r.tab !== tab));
		for (const [name, holder] of [...this.#held]) {
			if (holder.tab !== tab)
				continue;
			this.#held.delete(name);
			this.#grantNext(name);
		}
	}

	#request(tab, name, { signal, steal }, callback) {
		return new Promise((resolve, reject) => {
			const request = { tab, name, callback, resolve, reject };
			const queue = this.#queues.get(name) ?? [];
			this.#queues.set(name, queue);
			if (steal) {
				this.#held.get(name)?.reject(
				    new DOMException('stolen', 'AbortError'));
				this.#held.delete(name);
				queue.unshift(request);
			} else {
				queue.push(request);
			}
			signal?.addEventListener('abort', () => {
				const at = queue.indexOf(request);
				if (at < 0)
					return;
				queue.splice(at, 1);
				reject(new DOMException('aborted', 'AbortError'));
			});
			queueMicrotask(() => this.#grantNext(name));
		});
	}

	#grantNext(name) {
		const queue = this.#queues.get(name) ?? [];
		if (this.#held.has(name) || queue.length === 0)
			return;
		const request = queue.shift();
		this.#held.set(name, request);
		Promise.resolve(request.callback({ name })).then((value) => {
			if (this.#held.get(name) === request) {
				this.#held.delete(name);
				this.#grantNext(name);
			}
			request.resolve(value);
		});
	}

	/** The user forbids this site to store anything: its lock is broken. */
	fail(tab) {
		for (const [name, holder] of this.#held) {
			if (holder.tab !== tab)
				continue;
			this.#held.delete(name);
			holder.reject(new DOMException('forbidden', 'SecurityError'));
			this.#grantNext(name);
		}
	}

	holder(name) {
		return this.#held.get(name)?.tab;
	}

	get holders() {
		return [...this.#held.values()].map((r) => r.tab);
	}
}

export class Site {
	locks = new Locks();
	tabs = [];
	/** Messages are lost from now on. */
	loses = false;
	#clock;
	#network;
	#random;
	#delayMs;
	#channels = [];

	/** delayMs: a message takes up to so long, by chance; 0: a microtask. */
	constructor(clock, network, { seed = 1, delayMs = 0 } = {}) {
		this.#clock = clock;
		this.#network = network;
		this.#random = seeded(seed);
		this.#delayMs = delayMs;
	}

	get openChannels() {
		return this.#channels.length;
	}

	get leader() {
		return this.locks.holders[0];
	}

	open(options = {}) {
		const tab = { site: this, isAlive: true, isHung: false, log: [] };
		tab.ids = () => tab.of('onEvent').map((e) => Number(e.id));
		tab.of = (name) => tab.log.filter(([n]) => n === name).map(([, p]) => p);
		tab.page = new Page();
		const recorders = Object.fromEntries(CALLBACKS.map((name) => [name,
			(payload) => {
				if (tab.isAlive)
					tab.log.push([name, payload]);
				return options[name]?.(payload);
			}]));
		tab.stream = new WalcastStream('https://example.org/sse.fcgi', {
			channels: ['a'], shared: true, ...options, ...recorders,
			env: this.#envFor(tab) });
		this.tabs.push(tab);
		tab.stream.connect();
		return tab;
	}

	/** The tab's process dies: nothing of it runs any more. */
	kill(tab) {
		tab.isAlive = false;
		for (const c of this.#network.connections)
			if (c.init.tab === tab)
				c.fail();
		this.#channels = this.#channels.filter((c) => c.tab !== tab);
		this.tabs = this.tabs.filter((t) => t !== tab);
		this.locks.drop(tab);
	}

	#envFor(tab) {
		const clock = this.#clock;
		const site = this;
		const alive = (f) => (...args) => {
			if (tab.isAlive && !tab.isHung)
				f(...args);
		};
		return {
			now: clock.now,
			random: seeded(this.tabs.length + 7),
			setTimeout: (f, ms) => clock.setTimeout(alive(f), ms),
			clearTimeout: clock.clearTimeout,
			fetch: async (url, init) => {
				if (!tab.isAlive)
					await new Promise(() => {});
				return site.#network.fetch(url, { ...init, tab });
			},
			window: tab.page,
			document: tab.page,
			navigator: { locks: site.locks.for(tab) },
			BroadcastChannel: function (name) {
				return site.#makeChannel(tab, name);
			},
			console: { error: (e) => tab.log.push(['console', e]) },
		};
	}

	#makeChannel(tab, name) {
		const channel = {
			tab,
			name,
			onmessage: null,
			/** When the last message of each sender comes. */
			lastAt: new Map(),
			postMessage: (data) => this.#post(channel, structuredClone(data)),
			close: () => {
				this.#channels = this.#channels.filter((c) => c !== channel);
			},
		};
		this.#channels.push(channel);
		return channel;
	}

	#post(from, data) {
		if (this.loses || !from.tab.isAlive || !this.#channels.includes(from))
			return;
		for (const to of this.#channels) {
			if (to === from || to.name !== from.name)
				continue;
			this.#deliver(from, to, data);
		}
	}

	#deliver(from, to, data) {
		const arrive = () => {
			if (to.tab.isHung)
				(to.tab.held ??= []).push(arrive);
			else if (this.#channels.includes(to))
				to.onmessage?.({ data });
		};
		if (this.#delayMs === 0) {
			queueMicrotask(arrive);
			return;
		}
		const at = Math.max(to.lastAt.get(from) ?? 0, this.#clock.now() +
		    Math.floor(this.#random() * this.#delayMs));
		to.lastAt.set(from, at);
		this.#clock.setTimeout(arrive, at - this.#clock.now());
	}

	hang(tab) {
		tab.isHung = true;
	}

	wake(tab) {
		tab.isHung = false;
		for (const arrive of tab.held?.splice(0) ?? [])
			arrive();
	}
}
