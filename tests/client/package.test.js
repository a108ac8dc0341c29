// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync,
	writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { makeDist } from './build.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const CLIENT = join(HERE, '../../client');
const dist = (name) => readFileSync(join(CLIENT, 'dist', name));

function temporary(t) {
	const folder = mkdtempSync(join(tmpdir(), 'walcast-'));
	t.after(() => rmSync(folder, { recursive: true }));
	return folder;
}

const run = (command, args, options) =>
    execFileSync(command, args, { encoding: 'utf8', ...options });

test('client/dist is what the sources make: else run `npm run build`', async () => {
	const made = await makeDist();
	assert.deepEqual(readdirSync(join(CLIENT, 'dist')).sort(),
	    Object.keys(made).sort());
	for (const [name, bytes] of Object.entries(made))
		assert.ok(dist(name).equals(bytes), name);
});

test('the one file is under 8.5 KiB gzipped, also at a server\'s usual level', () => {
	for (const level of [6, 9]) {
		const size = gzipSync(dist('walcast.js'), { level }).length;
		assert.ok(size < 8704, `${size} bytes at level ${level}`);
	}
});

test('it imports nothing but the parts that are asked for', () => {
	const text = dist('walcast.js').toString();
	assert.deepEqual(text.match(/import\(?\s*"[^"]*"|from\s*"[^"]*"/g),
	    ['import("./walcast-shared.js"', 'import("./walcast-observe.js"',
		    'import("./walcast-eventsource.js"']);
	for (const name of ['walcast-shared.js', 'walcast-observe.js',
		'walcast-eventsource.js'])
		assert.doesNotMatch(dist(name).toString(), /\bimport\b|\bfrom\s*"/);
});

test('every file says its licence first', () => {
	const files = readdirSync(CLIENT, { recursive: true })
	    .filter((name) => /\.(js|ts)$/.test(name));
	assert.ok(files.length > 25);
	for (const name of files)
		assert.match(readFileSync(join(CLIENT, name), 'utf8'),
		    /^\/\/ SPDX-License-Identifier: MIT\n/, name);
});

test('npm pack holds what is needed, and nothing else', (t) => {
	const folder = temporary(t);
	const [{ files, filename }] = JSON.parse(run('npm', ['pack', '--json',
		'--silent', '--pack-destination', folder], { cwd: CLIENT }));
	const names = files.map((file) => file.path).sort();
	const expected = ['README.md', 'package.json', ...readdirSync(CLIENT,
	    { recursive: true }).filter((name) => /\.(js|d\.ts)$/.test(name))];
	assert.deepEqual(names, expected.sort());
	run('tar', ['xzf', join(folder, filename), '-C', folder]);
	mkdirSync(join(folder, 'node_modules'));
	symlinkSync(join(folder, 'package'), join(folder, 'node_modules/walcast'));
	assert.equal(use(folder, []), 'function function function');
	assert.equal(use(folder, ['--conditions=browser']),
	    'function function function');
});

/** What a program sees that has installed the package. */
function use(folder, flags) {
	writeFileSync(join(folder, 'main.mjs'), `
		import { connect, WalcastStream, fileStorage } from 'walcast';
		import { memorySink } from 'walcast/observe';
		console.log(typeof connect, typeof fileStorage, typeof memorySink);`);
	return run(process.execPath, [...flags, 'main.mjs'], { cwd: folder }).trim();
}

test('the types compile in strict mode in a project of their own', (t) => {
	const folder = temporary(t);
	cpSync(join(HERE, 'types'), join(folder, 'tests/client/types'),
	    { recursive: true });
	for (const name of readdirSync(CLIENT).filter((n) => /\.d\.ts$|json$/.test(n)))
		cpSync(join(CLIENT, name), join(folder, 'client', name));
	writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
	const tsc = join(HERE, 'node_modules/typescript/bin/tsc');
	run(process.execPath, [tsc, '-p', join(folder, 'tests/client/types')]);
});

test('the types name what the client has', async () => {
	const types = readFileSync(join(CLIENT, 'walcast.d.ts'), 'utf8');
	const { connect, EventStreamParser, WalcastStream } =
	    await import(join(CLIENT, 'walcast.js'));
	const members = (c) => Object.getOwnPropertyNames(c.prototype)
	    .filter((name) => name !== 'constructor');
	for (const name of [...members(WalcastStream), ...members(EventStreamParser)])
		assert.match(types, new RegExp(`\\b${name}\\b`), name);
	const stats = connect('http://localhost/', { signal: AbortSignal.abort() })
	    .stats();
	for (const name of Object.keys(stats))
		assert.match(types, new RegExp(`\\b${name}\\b`), name);
});

test('README says each option and each callback', () => {
	const readme = readFileSync(join(CLIENT, 'README.md'), 'utf8');
	const types = readFileSync(join(CLIENT, 'walcast.d.ts'), 'utf8');
	const body = (name) => types.match(
	    new RegExp(`interface ${name}[^{]*\\{([^]*?)\\n\\}`))[1];
	const options = [...body('Options').matchAll(/^\t(\w+)\??[:(]/gm)]
	    .map(([, name]) => name);
	const callbacks = [...body('Callbacks').matchAll(/^\t(\w+):/gm)]
	    .map(([, name]) => `on${name[0].toUpperCase()}${name.slice(1)}`);
	assert.ok(options.length > 30 && callbacks.length === 16);
	for (const name of [...options, ...callbacks])
		assert.ok(readme.includes(`\`${name}\``), name);
});
