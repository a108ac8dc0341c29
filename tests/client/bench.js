// SPDX-License-Identifier: MIT
//
// The parser against npm's eventsource-parser on the same bytes, in this
// process, in turns; prints the ratio.  Then the whole client over a million
// events: speed and memory.
//
//      npm run bench [bytes of data]

import { createParser } from 'eventsource-parser';
import { EventStreamParser, connect } from './sim/setup.js';

const EVENTS = 200000;
const ROUNDS = 9;
const PIECE = 16384;

function makeBytes(size) {
	const data = 'x'.repeat(size);
	let text = '';
	for (let id = 1; id <= EVENTS; id++)
		text += `id: ${id}\nevent: created\ndata: ${data}\n\n`;
	return new TextEncoder().encode(text);
}

function timed(bytes, push) {
	const start = process.hrtime.bigint();
	for (let at = 0; at < bytes.length; at += PIECE)
		push(bytes.subarray(at, at + PIECE));
	return Number(process.hrtime.bigint() - start) / 1e6;
}

function ours(bytes) {
	let n = 0;
	const parser = new EventStreamParser({ onEvent: () => { n++; } });
	const ms = timed(bytes, (piece) => parser.push(piece));
	return { n, ms };
}

function theirs(bytes) {
	let n = 0;
	const decoder = new TextDecoder();
	const parser = createParser({ onEvent: () => { n++; } });
	const ms = timed(bytes, (piece) =>
	    parser.feed(decoder.decode(piece, { stream: true })));
	return { n, ms };
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

const bytes = makeBytes(Number(process.argv[2] ?? 200));
const runs = { ours: [], theirs: [] };
for (let i = 0; i < ROUNDS; i++) {
	for (const [name, run] of [['ours', ours], ['theirs', theirs]]) {
		const { n, ms } = run(bytes);
		if (n !== EVENTS)
			throw new Error(`${name} saw ${n} of ${EVENTS} events`);
		runs[name].push(ms);
	}
}
const [a, b] = [median(runs.ours), median(runs.theirs)];
console.log(`${(bytes.length / 1e6).toFixed(0)} MB, ${EVENTS} events: ours ` +
    `${a.toFixed(0)} ms, eventsource-parser ${b.toFixed(0)} ms; ` +
    `throughput ratio ${(b / a).toFixed(2)}`);

// ---- the whole client, from fetch to the handler -------------------------------

const MILLION = 1000000;
const IN_PIECE = 100;
const used = () => {
	globalThis.gc?.();
	return process.memoryUsage().heapUsed / 1e6;
};

/** A body of envelopes that are made as they are read. */
function makeBody() {
	const encoder = new TextEncoder();
	let id = 0;
	return new ReadableStream({ pull(controller) {
		let text = '';
		for (let i = 0; i < IN_PIECE; i++, id++)
			text += `id: ${id + 1}\ndata: {"id":${id + 1},"channel":"a",` +
			    `"event":"message","ts":0,"trace":null,"prev":${id},` +
			    `"data":{"n":${id + 1}}}\n\n`;
		controller.enqueue(encoder.encode(text));
		if (id >= MILLION)
			controller.close();
	} });
}

async function readMillion() {
	const heap = [];
	let n = 0;
	const start = process.hrtime.bigint();
	await new Promise((resolve) => connect('http://localhost/', {
		retry: 'none',
		env: { fetch: async () => new Response(makeBody(),
		    { headers: { 'content-type': 'text/event-stream' } }) },
		onEvent: () => {
			if (++n % (MILLION / 5) === 0)
				heap.push(used().toFixed(1));
		},
		onClose: ({ willReconnect }) => willReconnect || resolve(),
	}));
	const seconds = Number(process.hrtime.bigint() - start) / 1e9;
	console.log(`client: ${n} events, ${(n / seconds / 1000).toFixed(0)}k/s; ` +
	    `heap at each fifth: ${heap.join(', ')} MB`);
}
await readMillion();
