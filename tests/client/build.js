// SPDX-License-Identifier: MIT
//
// Makes client/dist: walcast.js as one file and the parts that it loads when
// they are asked for, small.  `npm run build`; a test compares.
//
// Private members and the names below, which the parts of the client say only
// to each other, become short ones.  The tests run on the result, too.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { writeFileSync, mkdirSync } from 'node:fs';
import { basename } from 'node:path';
import { build } from 'esbuild';

const CLIENT = fileURLToPath(new URL('../../client/', import.meta.url));
const FILES = ['walcast.js', 'walcast-shared.js', 'walcast-observe.js',
	'walcast-eventsource.js'];
const INTERNAL = ['addLag', 'begin', 'beginAt', 'deliver', 'drain', 'drained',
	'emit', 'ended', 'forget', 'handled', 'heard', 'inQuery', 'isFatal',
	'isFull', 'isWanted', 'judge', 'limit', 'listen', 'note', 'offsetMs',
	'opened', 'put', 'received', 'repair', 'restartAt', 'skipTo',
	'tell', 'unlisten'];

/** The same in each file, as they call each other; n is a public name. */
const LETTERS = 'abcdefghijklmopqrstuvwxyzABCDEFGH';
const SHORT = Object.fromEntries(INTERNAL.map((name, i) => [name, LETTERS[i]]));

/** {name: bytes} of what client/dist has to hold. */
export async function makeDist() {
	const { outputFiles } = await build({
		entryPoints: FILES.map((name) => CLIENT + name),
		outdir: `${CLIENT}dist`,
		bundle: true,
		format: 'esm',
		target: 'es2022',
		minify: true,
		legalComments: 'none',
		external: ['./walcast-*.js'],
		mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
		mangleCache: SHORT,
		banner: { js: '// SPDX-License-Identifier: MIT' },
		write: false,
	});
	return Object.fromEntries(outputFiles.map(({ path, contents }) =>
	    [basename(path), Buffer.from(contents)]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	mkdirSync(`${CLIENT}dist`, { recursive: true });
	for (const [name, bytes] of Object.entries(await makeDist())) {
		writeFileSync(`${CLIENT}dist/${name}`, bytes);
		console.log(`${name}: ${bytes.length} bytes, ` +
		    `${gzipSync(bytes, { level: 9 }).length} gzipped`);
	}
}
