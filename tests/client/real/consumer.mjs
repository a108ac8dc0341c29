// SPDX-License-Identifier: MIT
//
//       node consumer.mjs URL OPTIONS
//
// A Node program on the client; what happens goes to standard output as lines
// of JSON.  OPTIONS, in JSON, are those of connect() and
//   file       keeps the position there
//   restarts   a new connection as often as this, each when the one before is
//              open
//   weighAt    ids after which the heap is told, swept; no lines for events
//   answer, tokens   see record.js
// TERM stops the stream and waits for the file.

import { writeSync } from 'node:fs';
import { connect, fileStorage } from '../../../client/walcast-node.js';
import { follow } from './record.js';

const [url, json] = process.argv.slice(2);
const { file, restarts = 0, weighAt, ...options } = JSON.parse(json);
const storage = file && fileStorage(file);
let left = restarts;

const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

function weigh({ id }) {
	if (!weighAt.includes(id))
		return;
	globalThis.gc();
	say({ on: 'weight', id, heap: process.memoryUsage().heapUsed });
}

function tell(line) {
	if (line.on === 'event' && weighAt)
		weigh(line);
	else
		say(line);
	if (line.type === 'control.open' && left-- > 0)
		setImmediate(() => stream.restart());
}

const stream = follow(connect, url, { ...options, storage }, tell);

process.on('SIGTERM', async () => {
	stream.stop();
	await storage?.flush();
	say({ on: 'end', ...stream.stats() });
	process.exit(0);
});
// A stream that has ended keeps nothing alive; the test ends this program.
setInterval(() => {}, 60000);
