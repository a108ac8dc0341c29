// SPDX-License-Identifier: MIT
//
// Where figures go.  A sink is any of {count(name, by), observe(name, value)}.

import { Window } from './metrics.js';

/** Keeps all: {counters: {name: n}, observed: {name: Window}}. */
export function memorySink() {
	const counters = {};
	const observed = {};
	return {
		counters,
		observed,
		count(name, by) {
			counters[name] = (counters[name] ?? 0) + by;
		},
		observe(name, value) {
			(observed[name] ??= new Window()).add(value);
		},
	};
}

/** Says each figure but bytes, which come too often. */
export function consoleSink(out = console) {
	return {
		count: (name, by) => name === 'bytes' ||
		    out.debug(`walcast: ${name} +${by}`),
		observe: (name, value) => out.debug(`walcast: ${name} ${value}`),
	};
}

const UNITS = { lagMs: 'lag_milliseconds' };
const metricName = (name) => 'walcast_client_' + (UNITS[name] ??
    name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`));

const counterText = (name, value) => {
	const full = `${metricName(name)}_total`;
	return `# TYPE ${full} counter\n${full} ${value}\n`;
};

const summaryText = (name, { p50, p95, p99 }) => {
	const full = metricName(name);
	return `# TYPE ${full} summary\n` +
	    `${full}{quantile="0.5"} ${p50}\n` +
	    `${full}{quantile="0.95"} ${p95}\n` +
	    `${full}{quantile="0.99"} ${p99}\n`;
};

/** A memory sink with text(): its figures as Prometheus reads them. */
export function prometheusSink() {
	const sink = memorySink();
	sink.text = () => [
		...Object.entries(sink.counters).map((pair) => counterText(...pair)),
		...Object.entries(sink.observed).map(([name, window]) =>
		    summaryText(name, window.summary())),
	].join('');
	return sink;
}
