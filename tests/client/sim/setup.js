// SPDX-License-Identifier: MIT
//
// A stream in a world that the test controls.  WALCAST_CLIENT=dist tests the
// built file.

import { Clock, seeded, settle } from './clock.js';
import { LogServer, Network } from './server.js';

const folder = process.env.WALCAST_CLIENT === 'dist'
	? '../../../client/dist/' : '../../../client/';
export const { connect, WalcastStream, EventStreamParser } =
    await import(`${folder}walcast.js`);
/** Loaded here, since from the disk it takes its time. */
export const parts = {
	shared: await import(`${folder}walcast-shared.js`),
	observe: await import(`${folder}walcast-observe.js`),
	eventsource: await import(`${folder}walcast-eventsource.js`),
};

/** EventTarget enough for window and document. */
export class Page extends EventTarget {
	visibilityState = 'visible';
	baseURI = 'https://example.org/page';

	fire(type, more = {}) {
		this.dispatchEvent(Object.assign(new Event(type), more));
	}
}

export const CALLBACKS = ['onOpen', 'onEvent', 'onClose', 'onError', 'onRetry',
	'onGiveUp', 'onHeartbeat', 'onControl', 'onDuplicate', 'onOutOfOrder',
	'onGap', 'onLivenessFailure', 'onResumeAttempt', 'onCannotResume',
	'onStateChange'];

/** {clock, network, page, env, log, start(options)}; log: [name, payload]. */
export function makeWorld({ network, clock = new Clock(), seed = 1 } = {}) {
	const page = new Page();
	const world = {
		clock,
		page,
		settle,
		network: network ?? new Network(),
		log: [],
		of: (name) => world.log.filter(([n]) => n === name).map(([, p]) => p),
		ids: () => world.of('onEvent').map((e) => e.id),
	};
	world.env = {
		fetch: (...args) => world.network.fetch(...args),
		now: clock.now,
		setTimeout: clock.setTimeout,
		clearTimeout: clock.clearTimeout,
		random: seeded(seed),
		window: page,
		document: page,
		navigator: {},
		console: { error: (e) => world.log.push(['console', e]) },
	};
	world.make = (options = {}) => {
		const recorders = Object.fromEntries(CALLBACKS.map((name) => [name,
			(payload) => {
				world.log.push([name, payload]);
				return options[name]?.(payload);
			}]));
		for (const name of options.without ?? [])
			delete recorders[name];
		const made = { ...options, ...recorders, env: { ...world.env,
			...options.env } };
		return new WalcastStream('https://example.org/sse.fcgi', {
			channels: ['a'], ...made });
	};
	world.start = async (options) => {
		world.stream = world.make(options).connect();
		await settle();
		return world.stream;
	};
	return world;
}

export function makeLogWorld(options) {
	const clock = new Clock();
	return makeWorld({ ...options, clock, network: new LogServer(clock) });
}
