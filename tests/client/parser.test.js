// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from './sim/clock.js';
import { EventStreamParser } from './sim/setup.js';

/** All that the parser tells of these pieces, in order. */
function parse(pieces, options) {
	const told = [];
	const parser = new EventStreamParser({
		onEvent: (e) => told.push(['event', e.type, e.data, e.id]),
		onPosition: (id) => told.push(['position', id]),
		onComment: (text) => told.push(['comment', text]),
		onRetry: (ms) => told.push(['retry', ms]),
	}, options);
	for (const piece of [pieces].flat())
		parser.push(piece);
	return told;
}

const message = (data, id = '') => ['event', 'message', data, id];

// ---- the examples of the standard, section 9.2.6 -----------------------------

test('the standard: one event of three lines', () => {
	assert.deepEqual(parse('data: YHOO\ndata: +2\ndata: 10\n\n'),
	    [message('YHOO\n+2\n10')]);
});

test('the standard: a comment, an id, an id reset, one space only', () => {
	assert.deepEqual(parse(': test stream\n\ndata: first event\nid: 1\n\n' +
	    'data:second event\nid\n\ndata:  third event\n\n'),
	[['comment', ' test stream'], message('first event', '1'),
		message('second event', ''), message(' third event', '')]);
});

test('the standard: empty data is data, an unfinished block is nothing', () => {
	assert.deepEqual(parse('data\n\ndata\ndata\n\ndata:'),
	    [message(''), message('\n')]);
});

test('the standard: a space after the colon makes no difference', () => {
	assert.deepEqual(parse('data:test\n\ndata: test\n\n'),
	    [message('test'), message('test')]);
});

// ---- each rule -------------------------------------------------------------------

test('a byte order mark is ignored once, at the start', () => {
	const bom = [0xef, 0xbb, 0xbf];
	const text = [...new TextEncoder().encode('data: x\n\n')];
	assert.deepEqual(parse(new Uint8Array([...bom, ...text])), [message('x')]);
	assert.deepEqual(parse('\ufeffdata: x\n\n'), [message('x')]);
	assert.deepEqual(parse(bom.concat(text).map((b) => new Uint8Array([b]))),
	    [message('x')]);
	assert.deepEqual(parse(new Uint8Array([...bom, ...bom, ...text])), [],
	    'the second one makes a field that nobody knows');
	assert.deepEqual(parse('\n\ufeffdata: x\n\n'), []);
});

test('CR, LF and CRLF end lines, also across pieces', () => {
	const lines = ['data: a', 'data: b', '', 'data: c', ''];
	for (const end of ['\n', '\r', '\r\n']) {
		const text = lines.map((line) => line + end).join('');
		assert.deepEqual(parse(text), [message('a\nb'), message('c')]);
		assert.deepEqual(parse([...text]), [message('a\nb'), message('c')]);
	}
	assert.deepEqual(parse('data: a\r\r\ndata: b\n\r'),
	    [message('a'), message('b')]);
});

test('a CR ends a line at once, without waiting for an LF', () => {
	assert.deepEqual(parse('data: a\r\r'), [message('a')]);
	assert.deepEqual(parse(['data: a\r', '\n', '\r', '\n', 'data: b\n\n']),
	    [message('a'), message('b')]);
	assert.deepEqual(parse(['data: a\r', '', '\n', '\n']), [message('a')]);
});

test('a field without a colon has an empty value', () => {
	assert.deepEqual(parse('event\ndata\n\n'), [message('')]);
	assert.deepEqual(parse('id: 7\n\nid\ndata: x\n\n'),
	    [['position', '7'], message('x')]);
});

test('an id with NUL is ignored, an empty one resets', () => {
	assert.deepEqual(parse('id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n'),
	    [message('a', '1'), message('b', '1'), message('c')]);
});

test('a retry of anything but digits is ignored', () => {
	assert.deepEqual(parse('retry: 10\nretry: 1.5\nretry: -1\nretry:\n' +
	    'retry: 1e3\nretry: ٣\nretry: 0020\n\n'),
	[['retry', 10], ['retry', 20]]);
});

test('names are exact: case counts, spaces count', () => {
	assert.deepEqual(parse('Data: a\n data: b\ndata : c\ndat: d\n\n'), []);
});

test('the type holds for one event, the id until it changes', () => {
	assert.deepEqual(parse('event: e\nid: 1\ndata: a\n\ndata: b\n\n'),
	    [['event', 'e', 'a', '1'], message('b', '1')]);
	assert.deepEqual(parse('event: e\n\ndata: b\n\n'), [message('b')]);
});

test('an id without data is a position, and told', () => {
	assert.deepEqual(parse(': hb\nid: 52\n\n'),
	    [['comment', ' hb'], ['position', '52']]);
	assert.deepEqual(parse('id: 52\nevent: x\n\ndata: y\n\n'),
	    [['position', '52'], message('y', '52')]);
});

test('hasId says whether the block named its id', () => {
	const seen = [];
	const parser = new EventStreamParser({ onEvent: (e) => seen.push(e.hasId) });
	parser.push('id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n');
	assert.deepEqual(seen, [true, false, true]);
});

test('lastEventId is that of the last block that ended', () => {
	const parser = new EventStreamParser();
	parser.push('id: 1\ndata: a\n\nid: 2\ndata: b\n');
	assert.equal(parser.lastEventId, '1');
});

test('after end() an unfinished event is gone and a new stream begins', () => {
	const seen = [];
	const parser = new EventStreamParser({ onEvent: (e) => seen.push(e.data) });
	parser.push('id: 1\ndata: a\n\nid: 9\ndata: half');
	parser.end();
	parser.push('\ufeffdata: b\n\n');
	assert.deepEqual(seen, ['a', 'b']);
	assert.equal(parser.lastEventId, '1');
});

test('broken UTF-8 becomes U+FFFD and harms nothing else', () => {
	assert.deepEqual(parse(new Uint8Array(
	    [100, 97, 116, 97, 58, 0xff, 0xc3, 10, 10])), [message('\ufffd\ufffd')]);
});

test('an event past maxLength is refused, in one line or in many', () => {
	assert.throws(() => parse(['data: ' + 'x'.repeat(60), 'x'.repeat(60)],
	    { maxLength: 100 }), RangeError);
	assert.throws(() => parse('data: xxxxxxxxx\n'.repeat(20),
	    { maxLength: 100 }), RangeError);
	assert.equal(parse('data: xxxxxxxxx\n\n'.repeat(20),
	    { maxLength: 100 }).length, 20);
});

// ---- any cut -----------------------------------------------------------------------

const PIECES = ['data', 'id', 'event', 'retry', ':', ': ', ' ', 'x', '12', 'é',
	'日本', '🦔', '\0', '\n', '\r', '\r\n', '\n\n', '\ufeff', 'data: a\n\n',
	'id: 7\n', ': hb\n'];

function randomText(random) {
	const n = 5 + Math.floor(random() * 60);
	return Array.from({ length: n }, () =>
	    PIECES[Math.floor(random() * PIECES.length)]).join('') + '\n\n';
}

function cut(bytes, random) {
	const pieces = [];
	for (let at = 0; at < bytes.length;) {
		const n = Math.floor(random() * random() * 12);
		pieces.push(bytes.slice(at, at + n));
		at += n;
	}
	return pieces;
}

/** The standard's algorithm on the whole text, written to be read. */
function reference(text) {
	const told = [];
	let data = '', type = '', id = '', hasId = false, any = false;
	const whole = text.replace(/^\ufeff/, '');
	for (const line of whole.split(/\r\n|\n|\r/).slice(0, -1)) {
		if (line === '') {
			if (any)
				told.push(['event', type || 'message',
					data.replace(/\n$/, ''), id]);
			else if (hasId)
				told.push(['position', id]);
			data = type = '';
			hasId = any = false;
			continue;
		}
		const [, name, value] = line.match(/^([^:]*):? ?([^]*)$/);
		if (line.startsWith(':')) {
			told.push(['comment', line.slice(1)]);
		} else if (name === 'data') {
			data += value + '\n';
			any = true;
		} else if (name === 'event') {
			type = value;
		} else if (name === 'id' && !value.includes('\0')) {
			id = value;
			hasId = true;
		} else if (name === 'retry' && /^[0-9]+$/.test(value)) {
			told.push(['retry', Number(value)]);
		}
	}
	return told;
}

test('any cut of the bytes gives the same, and what the standard says', () => {
	for (let seed = 1; seed <= 1500; seed++) {
		const random = seeded(seed);
		const text = randomText(random);
		const bytes = new TextEncoder().encode(text);
		const expected = reference(text);
		assert.deepEqual(parse(bytes), expected, `seed ${seed}, whole`);
		assert.deepEqual(parse(cut(bytes, random)), expected, `seed ${seed}`);
		assert.deepEqual(parse(cut(text, random)), expected,
		    `seed ${seed}, strings`);
		assert.deepEqual(parse([...bytes].map((b) => new Uint8Array([b]))),
		    expected, `seed ${seed}, byte by byte`);
	}
});

test('long data in many pieces costs no copy for each piece', () => {
	const piece = 'x'.repeat(1024);
	let length = 0;
	const parser = new EventStreamParser({
		onEvent: (e) => { length = e.data.length; },
	}, { maxLength: 1e9 });
	parser.push('data: ');
	for (let i = 0; i < 32 * 1024; i++)
		parser.push(piece);
	parser.push('\n\n');
	assert.equal(length, 32 * 1024 * 1024);
});
