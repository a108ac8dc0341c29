// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger, rank } from '../../client/lib/ledger.js';

const on = (channel) => (id, prev = 0) => ({ id: String(id), channel, prev });
const plain = (id) => ({ id: String(id) });
const take = (ledger, event, now = 0) => {
	const verdict = ledger.judge(event, now);
	if (verdict === 'new')
		ledger.note(event, now);
	return verdict;
};

test('rank is a number for ids of the log and NaN for others', () => {
	assert.deepEqual(['', '0', '17', '-1', '1e3', 'x', '1 '].map(rank),
	    [NaN, 0, 17, NaN, NaN, NaN, NaN]);
});

test('a repeat is known by its id as long as the book holds it', () => {
	const ledger = new Ledger({ max: 2 });
	for (const id of ['x', 'y', 'z'])
		assert.equal(take(ledger, plain(id)), 'new');
	assert.equal(take(ledger, plain('z')), 'duplicate');
	assert.equal(take(ledger, plain('y')), 'duplicate');
	assert.equal(take(ledger, plain('x')), 'new', 'it was forgotten');
});

test('and as long as it is young', () => {
	const ledger = new Ledger({ ttlMs: 100 });
	take(ledger, plain('x'), 0);
	assert.equal(take(ledger, plain('x'), 99), 'duplicate');
	assert.equal(take(ledger, plain('x'), 100), 'new');
});

test('with numbers a forgotten one is still older than the last', () => {
	const ledger = new Ledger({ max: 1 });
	take(ledger, plain(1));
	take(ledger, plain(2));
	assert.equal(take(ledger, plain(1)), 'outOfOrder');
});

test('on a channel a repeat is known however long ago it was', () => {
	const ledger = new Ledger({ max: 1 });
	const a = on('a');
	ledger.beginAt('0');
	for (let id = 1; id <= 10; id++)
		take(ledger, a(id, id - 1));
	assert.equal(take(ledger, a(3, 2)), 'duplicate');
});

test('prev newer than what we have is a gap; the beginning is known or not', () => {
	const a = on('a');
	const ledger = new Ledger();
	assert.equal(ledger.judge(a(9, 8), 0), 'new', 'nobody said where it began');
	ledger.beginAt('8');
	assert.equal(ledger.judge(a(9, 8), 0), 'new');
	assert.equal(ledger.judge(a(10, 9), 0), 'gap');
	assert.equal(ledger.judge(a(8, 7), 0), 'outOfOrder');
	ledger.beginAt('9');
	assert.equal(ledger.after('a'), 8, 'it begins once');
	ledger.skipTo('9');
	assert.equal(ledger.judge(a(10, 9), 0), 'new');
});

test('an older event of another channel may come late', () => {
	const ledger = new Ledger();
	ledger.beginAt('0');
	take(ledger, on('a')(5, 0));
	assert.equal(take(ledger, on('b')(3, 0)), 'new');
});

test('past its bound of channels, those that are unknown prove nothing', () => {
	const ledger = new Ledger({ max: 2 });
	ledger.beginAt('0');
	for (const [i, name] of ['a', 'b', 'c'].entries())
		take(ledger, on(name)(i + 1));
	assert.equal(ledger.judge(on('a')(9, 8), 0), 'new', 'a was put out');
	assert.equal(ledger.judge(on('c')(9, 8), 0), 'gap');
});

test('forget forgets', () => {
	const ledger = new Ledger();
	ledger.beginAt('0');
	take(ledger, on('a')(5, 0));
	ledger.forget();
	assert.equal(take(ledger, on('a')(5, 4)), 'new');
});
