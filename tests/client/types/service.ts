// SPDX-License-Identifier: MIT

import { connect, fileStorage, prometheusSink, redact } from 'walcast';

const storage = fileStorage('/var/lib/app/position.json');
const metrics = prometheusSink();
const stream = connect('https://example.org/sse.fcgi',
	{ channels: 'orders', storage, sequential: true, metrics });

for await (const { data } of stream)
	void data;
await storage.flush();
const text: string = redact(metrics.text());
void text;
