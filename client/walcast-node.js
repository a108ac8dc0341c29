// SPDX-License-Identifier: MIT
//
// The client in Node: all of it, and a position that is kept in a file.

import { readFile, rename, rm, writeFile } from 'node:fs/promises';

export * from './walcast.js';
export * from './walcast-observe.js';

/**
 * A store in one file, which is replaced as a whole: after a crash it holds the
 * newest position or one shortly before it.  While a write runs only the newest
 * of the positions that come is kept, so it is never behind by more than one
 * write.  Not for two streams at once.
 */
export function fileStorage(path) {
	let next = null;
	let running = null;

	async function write() {
		try {
			while (next !== null) {
				const text = next;
				next = null;
				await writeFile(`${path}.new`, text);
				await rename(`${path}.new`, path);
			}
		} finally {
			running = null;
		}
	}

	return {
		async load() {
			try {
				return JSON.parse(await readFile(path, 'utf8'));
			} catch (error) {
				if (error.code === 'ENOENT')
					return null;
				throw error;
			}
		},
		save(position) {
			next = `${JSON.stringify(position)}\n`;
			running ??= write();
			return running;
		},
		async clear() {
			next = null;
			await running?.catch(() => {});
			await rm(path, { force: true });
		},
		/** Fulfilled when all that was saved is in the file. */
		async flush() {
			await running;
		},
	};
}
