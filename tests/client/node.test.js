// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync }
	from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, fileStorage } from '../../client/walcast-node.js';
import { envelope, openFrame } from './sim/server.js';

function temporary(t) {
	const folder = mkdtempSync(join(tmpdir(), 'walcast-'));
	t.after(() => rmSync(folder, { recursive: true }));
	return folder;
}

test('fileStorage keeps the newest position, and leaves no other file', async (t) => {
	const folder = temporary(t);
	const path = join(folder, 'position.json');
	const store = fileStorage(path);
	assert.equal(await store.load(), null);
	for (let i = 1; i <= 500; i++) {
		store.save({ id: String(i), generation: 'g' });
		if (i % 50 === 0)
			await new Promise(setImmediate);
	}
	await store.flush();
	assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')),
	    { id: '500', generation: 'g' });
	assert.deepEqual(readdirSync(folder), ['position.json']);
	assert.deepEqual(await fileStorage(path).load(),
	    { id: '500', generation: 'g' });
	await store.clear();
	assert.equal(await store.load(), null);
});

test('a file that cannot be written, or is damaged, is an error', async (t) => {
	const folder = temporary(t);
	await assert.rejects(fileStorage(join(folder, 'no', 'such')).save(
	    { id: '1', generation: '' }), { code: 'ENOENT' });
	writeFileSync(join(folder, 'bad'), '{"id":');
	await assert.rejects(fileStorage(join(folder, 'bad')).load(), SyntaxError);
});

/** A server over real sockets: some events, then it is cut. */
async function serve(t) {
	const seen = [];
	const server = createServer((request, response) => {
		const from = Number(request.headers['last-event-id'] ?? 40);
		seen.push(from);
		response.writeHead(200, { 'content-type': 'text/event-stream' });
		response.write('retry: 1\n' + openFrame({}, from));
		for (let id = from + 1; id <= from + 3; id++)
			response.write(envelope(id));
		setImmediate(() => response.destroy());
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.after(() => server.close());
	return { seen, url: `http://127.0.0.1:${server.address().port}/` };
}

test('over real sockets: a consumer that goes on where its file says', async (t) => {
	const { seen, url } = await serve(t);
	const path = join(temporary(t), 'position.json');
	const ids = [];
	for (let run = 0; run < 2; run++) {
		const storage = fileStorage(path);
		for await (const { id } of connect(url, { storage,
			retry: { initialDelayMs: 1 } })) {
			ids.push(Number(id));
			if (ids.length % 5 === 0)
				break;
		}
		await storage.flush();
	}
	assert.equal(seen[0], 40);
	assert.deepEqual(ids, [41, 42, 43, 44, 45, 45, 46, 47, 48, 49],
	    'the one that was being handled when the loop was left comes again');
});
