// SPDX-License-Identifier: MIT
//
// What a stream tells of itself, to logs, figures and the site.  Loaded when
// one of the options metrics, beacon, logLevel, logger, onBuffered is given.

import { Beacon, EVERY_MS } from './lib/beacon.js';
import { BufferWatch } from './lib/buffering.js';
import { makeLog } from './lib/log.js';

export { consoleSink, memorySink, prometheusSink } from './lib/sinks.js';
export { redact } from './lib/log.js';

/** Lines for what happens; `log` keeps to its level. */
function logAll(stream, log) {
	const at = () => `[${stream.info?.stream ?? '-'}]`;
	stream.on('stateChange', ({ from, to, reason }) =>
	    log.info(`${at()} ${from} -> ${to} (${reason})`));
	stream.on('error', (error) =>
	    log[error.fatal ? 'error' : 'warn'](`${at()} ${error.message}`));
	stream.on('retry', ({ retryIn, attempt }) =>
	    log.info(`${at()} attempt ${attempt} in ${retryIn} ms`));
	stream.on('gap', (gap) => log.warn(`${at()} gap ${JSON.stringify(gap)}`));
	for (const name of ['control', 'duplicate', 'outOfOrder', 'heartbeat'])
		stream.on(name, ({ id, type = '' }) =>
		    log.debug(`${at()} ${name} ${type} id ${id}`));
}

/** A sink that throws costs its figures only. */
function tellSinks(sinks) {
	return (what, name, value, ts) => {
		for (const sink of sinks) {
			try {
				sink[what]?.(name, value, ts);
			} catch {
				continue;
			}
		}
	};
}

/** Sends while the stream runs; returns how to end it. */
function runBeacon(beacon, env) {
	const { document, window: page } = env;
	const visible = () =>
	    beacon.noteVisible(document.visibilityState !== 'hidden');
	const leave = () => beacon.send(true);
	let timer = null;
	const tick = () => {
		beacon.send(false);
		timer = env.setTimeout(tick, EVERY_MS);
	};
	timer = env.setTimeout(tick, EVERY_MS);
	document?.addEventListener?.('visibilitychange', visible);
	page?.addEventListener?.('pagehide', leave);
	return () => {
		env.clearTimeout(timer);
		document?.removeEventListener?.('visibilitychange', visible);
		page?.removeEventListener?.('pagehide', leave);
	};
}

function addBeacon(stream, url, env, sinks) {
	const beacon = new Beacon(url, stream, env);
	let end = null;
	sinks.push({ observe: (name, ms) => beacon.noteLag(ms) });
	stream.on('stateChange', ({ to }) => {
		if (to === 'closed') {
			end?.();
			end = null;
		} else {
			end ??= runBeacon(beacon, env);
		}
	});
	end = runBeacon(beacon, env);
}

/** Connections that begin, and a page that was away, prove no delay. */
function watchBuffering(stream, metrics, env, emit, sinks) {
	const watch = new BufferWatch();
	const reset = () => watch.reset();
	stream.on('stateChange', reset);
	env.document?.addEventListener?.('visibilitychange', reset);
	sinks.push({ observe(name, lag, ts) {
		const found = watch.add(ts, env.now());
		if (!found)
			return;
		metrics.buffered = true;
		emit('buffered', found);
	} });
}

/** metrics: the stream's, which tells the sinks; emit(name, payload). */
export function observe(stream, options, metrics, env, emit) {
	const sinks = [options.metrics ?? []].flat();
	if (options.logLevel || options.logger)
		logAll(stream, makeLog(options.logLevel, options.logger));
	if (options.beacon)
		addBeacon(stream, options.beacon, env, sinks);
	watchBuffering(stream, metrics, env, emit, sinks);
	metrics.tell = tellSinks(sinks);
}
