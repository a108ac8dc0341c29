// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff, PRESETS } from '../../client/lib/backoff.js';
import { seeded } from './sim/clock.js';

const CLIENTS = 1000;

/** How many of the values lie in each of ten equal parts of [from, to). */
function tenths(values, from, to) {
	const counts = Array(10).fill(0);
	for (const value of values)
		counts[Math.min(9, Math.floor((value - from) / (to - from) * 10))]++;
	return counts;
}

/** Chi square of ten parts; 27.9 is passed once in a thousand. */
function assertEven(values, from, to) {
	const expected = values.length / 10;
	const chi = tenths(values, from, to).reduce((sum, n) =>
	    sum + (n - expected) ** 2 / expected, 0);
	assert.ok(values.every((v) => v >= from && v <= to));
	assert.ok(chi < 27.9, `chi square ${chi}: ${tenths(values, from, to)}`);
}

function restart(attempt, options, floor = 0) {
	const random = seeded(attempt + 1);
	return Array.from({ length: CLIENTS }, () => {
		const backoff = new Backoff(options);
		let delay;
		for (let i = 0; i <= attempt; i++)
			delay = backoff.next(0, random(), floor);
		return delay;
	});
}

test('1,000 clients of one restart spread evenly, at each attempt', () => {
	for (const [attempt, ceiling] of [[0, 1000], [1, 2000], [2, 4000],
		[5, 30000], [9, 30000]])
		assertEven(restart(attempt, 'standard'), 0, ceiling);
});

test('they stay spread above what the server asked for', () => {
	assertEven(restart(0, 'standard', 3000), 3000, 4000);
	assertEven(restart(3, 'standard', 60000), 60000, 68000);
});

test('jitter says how much of the delay is chance', () => {
	assertEven(restart(0, { jitter: 0.5 }), 500, 1000);
	assert.deepEqual(new Set(restart(2, { jitter: 0 })), new Set([4000]));
});

test('the presets grow as they say', () => {
	for (const [name, delays] of [['aggressive', [250, 375, 563]],
		['standard', [1000, 2000, 4000]],
		['conservative', [5000, 10000, 20000]]]) {
		const backoff = new Backoff({ ...PRESETS[name], jitter: 0 });
		assert.deepEqual(delays.map(() => backoff.next(0, 0.5)), delays);
	}
	assert.equal(new Backoff('none').next(0, 0.5), null);
});

test('maxDelayMs caps the ceiling, never the floor', () => {
	const backoff = new Backoff({ jitter: 0, maxDelayMs: 1500 });
	backoff.next(0, 0);
	assert.equal(backoff.next(0, 0), 1500);
	assert.equal(backoff.next(0, 0, 10000), 11500);
});

test('it ends after so many attempts or so much time, and says which', () => {
	const few = new Backoff({ maxAttempts: 2 });
	assert.deepEqual([few.next(0, 0) === null, few.next(0, 0) === null,
		few.next(0, 0), few.limit], [false, false, null, 'max_attempts']);
	const short = new Backoff({ maxElapsedMs: 100 });
	short.next(5000, 0);
	assert.notEqual(short.next(5099, 0), null);
	assert.equal(short.next(5100, 0), null);
	assert.equal(short.limit, 'max_elapsed');
	short.reset();
	assert.notEqual(short.next(9000, 0), null);
});
