// SPDX-License-Identifier: MIT
//
// Walcast's client: Server-Sent Events that reconnect, resume and prove that
// nothing is missing.  Browsers and Node 18+; see README.md.

import { WalcastStream } from './lib/stream.js';

export { EventStreamParser } from './lib/parser.js';
export { WalcastStream };

WalcastStream.parts = {
	shared: () => import('./walcast-shared.js'),
	observe: () => import('./walcast-observe.js'),
	eventsource: () => import('./walcast-eventsource.js'),
};

/** A stream that has begun; the same as new WalcastStream(...).connect(). */
export const connect = (url, options) =>
    new WalcastStream(url, options).connect();
