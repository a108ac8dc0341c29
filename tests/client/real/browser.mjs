// SPDX-License-Identifier: MIT
//
// Chromium for the tests.  A line of JSON on standard input is a command, its
// answer is a line on standard output: {value} or {error}.  Tabs of one
// `context` share storage, locks and channels; a context is made when it is
// first named.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic',
	'--disable-dev-shm-usage', '--no-first-run',
	'--disable-background-networking', '--disable-component-update',
	'--disable-sync'];

const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM,
	args: ARGS,
	// The page cache is one of the things to be tested.
	ignoreDefaultArgs: ['--disable-back-forward-cache'],
});
const contexts = new Map();
const tabs = new Map();

async function context(name) {
	if (!contexts.has(name))
		contexts.set(name, await browser.newContext());
	return contexts.get(name);
}

const commands = {
	async open({ tab, context: name, url }) {
		const page = await (await context(name)).newPage();
		tabs.set(tab, page);
		await page.goto(url);
	},
	async goto({ tab, url }) {
		await tabs.get(tab).goto(url);
	},
	async back({ tab }) {
		await tabs.get(tab).goBack({ waitUntil: 'commit' });
	},
	eval: ({ tab, expression }) => tabs.get(tab).evaluate(expression),
	async offline({ context: name, value }) {
		await (await context(name)).setOffline(value);
	},
	async close({ tab }) {
		await tabs.get(tab).close();
	},
	/** Its process dies; the command itself is never answered. */
	async crash({ tab }) {
		const page = tabs.get(tab);
		const gone = new Promise((resolve) => page.once('crash', resolve));
		const devtools = await page.context().newCDPSession(page);
		devtools.send('Page.crash').catch(() => {});
		await gone;
		await page.close();
	},
};

for await (const line of createInterface({ input: process.stdin })) {
	const { op, ...args } = JSON.parse(line);
	const answer = await commands[op](args).then((value) => ({ value }),
	    (error) => ({ error: error.message }));
	process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
