// SPDX-License-Identifier: MIT
//
// Text of an event stream to events, as the HTML standard interprets it
// (section 9.2.6).  Pure: no clock, no I/O.
//
// Cost: each character is looked at once.  A line that comes in many pieces is
// concatenated, not scanned again, so long data is linear however it is cut.

const LF = 10;
const BOM = 0xfeff;
const NONE = Infinity;

/** Longest event or line, in characters, unless the caller says otherwise. */
const MAX_LENGTH = 16 * 1024 * 1024;

const find = (text, mark, from) => {
	const at = text.indexOf(mark, from);
	return at < 0 ? NONE : at;
};

export class EventStreamParser {
	/** The id to resume after: of the last block that ended. */
	lastEventId = '';

	#on;
	#max;
	#decoder = null;
	#started = false;
	#afterCr = false;
	#line = '';
	#data = '';
	#hasData = false;
	#type = '';
	#id = '';
	#hasId = false;

	/**
	 * `on` has any of
	 *   onEvent({id, type, data, hasId})  hasId: this block named its id
	 *   onPosition(id)                    a block with an id and without data
	 *   onComment(text)                   without the colon
	 *   onRetry(ms)
	 * What they throw comes out of push(), and the rest of the chunk is lost.
	 */
	constructor(on = {}, { maxLength = MAX_LENGTH } = {}) {
		this.#on = on;
		this.#max = maxLength;
	}

	/**
	 * Takes the next piece: bytes, cut anywhere, or strings; not both in one
	 * stream.  Throws a RangeError when an event passes maxLength.
	 */
	push(chunk) {
		let text = chunk;
		if (typeof chunk !== 'string') {
			this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true });
			text = this.#decoder.decode(chunk, { stream: true });
		}
		if (text === '')
			return;
		if (!this.#started) {
			this.#started = true;
			if (text.charCodeAt(0) === BOM)
				text = text.slice(1);
		}
		this.#split(text);
	}

	/**
	 * The stream has ended: an event without its empty line is discarded.
	 * What comes next is a new stream; only lastEventId is kept.
	 */
	end() {
		this.#decoder = null;
		this.#started = this.#afterCr = false;
		this.#line = '';
		this.#id = this.lastEventId;
		this.#clear();
	}

	#split(text) {
		let at = 0;
		if (this.#afterCr && text !== '') {
			this.#afterCr = false;
			at = text.charCodeAt(0) === LF ? 1 : 0;
		}
		let lf = find(text, '\n', at);
		let cr = find(text, '\r', at);
		while (lf !== NONE || cr !== NONE) {
			const end = lf < cr ? lf : cr;
			this.#takeLine(text.slice(at, end));
			at = end + 1;
			if (end === cr) {
				// A CR ends the line at once; an LF that
				// follows it, even in the next piece, is its.
				if (at === text.length)
					this.#afterCr = true;
				else if (at === lf)
					at++;
				cr = find(text, '\r', at);
			}
			if (lf < at)
				lf = find(text, '\n', at);
		}
		if (at < text.length)
			this.#line += text.slice(at);
		this.#checkLength(this.#line);
	}

	#takeLine(end) {
		let line = end;
		if (this.#line !== '') {
			line = this.#line + end;
			this.#line = '';
		}
		if (line === '')
			this.#dispatch();
		else if (line.startsWith('data:'))
			this.#addData(this.#valueAt(line, 5));
		else
			this.#takeField(line);
	}

	#takeField(line) {
		const colon = line.indexOf(':');
		if (colon === 0) {
			this.#on.onComment?.(line.slice(1));
			return;
		}
		const name = colon < 0 ? line : line.slice(0, colon);
		const value = colon < 0 ? '' : this.#valueAt(line, colon + 1);
		switch (name) {
		case 'data':
			this.#addData(value);
			break;
		case 'event':
			this.#type = value;
			break;
		case 'id':
			if (!value.includes('\0')) {
				this.#id = value;
				this.#hasId = true;
			}
			break;
		case 'retry':
			if (/^[0-9]+$/.test(value))
				this.#on.onRetry?.(Number(value));
			break;
		}
	}

	#valueAt(line, at) {
		return line.slice(line.charCodeAt(at) === 32 ? at + 1 : at);
	}

	#addData(value) {
		this.#data = this.#hasData ? this.#data + '\n' + value : value;
		this.#hasData = true;
		this.#checkLength(this.#data);
	}

	#checkLength(text) {
		if (text.length > this.#max)
			throw new RangeError(
			    `an event is longer than maxLength, ${this.#max}`);
	}

	#dispatch() {
		const hasId = this.#hasId;
		this.lastEventId = this.#id;
		if (!this.#hasData) {
			this.#clear();
			if (hasId)
				this.#on.onPosition?.(this.#id);
			return;
		}
		const event = {
			id: this.#id,
			type: this.#type || 'message',
			data: this.#data,
			hasId,
		};
		this.#clear();
		this.#on.onEvent?.(event);
	}

	#clear() {
		this.#data = '';
		this.#type = '';
		this.#hasData = this.#hasId = false;
	}
}
