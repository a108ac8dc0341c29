// SPDX-License-Identifier: MIT

import type { Store } from './walcast.js';

export * from './walcast.js';
export * from './walcast-observe.js';

/** Keeps the position in one file, which is replaced as a whole. */
export function fileStorage(path: string): Store & {
	/** Fulfilled when all that was saved is in the file. */
	flush(): Promise<void>;
};
