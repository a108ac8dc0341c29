// SPDX-License-Identifier: MIT
//
// A page as people write it; it only has to compile, and what is marked not to.

import { connect, EventStreamParser, WalcastStream } from 'walcast/browser';
import type { Callbacks, Options, ServerGap, State, Store, WalcastEvent }
	from 'walcast/browser';

interface Order { n: number; }

const options: Options = {
	channels: ['orders', 'news.*'],
	lastEventId: 17,
	storage: 'local',
	retry: { initialDelayMs: 500, jitter: 1 },
	cannotResume: 'callback',
	shared: 'user-17',
	token: async () => 'secret',
	onOpen({ reconnect, attempt }) {
		const again: boolean = reconnect && attempt > 0;
		void again;
		const state: State = this.state;
		void state;
	},
	onEvent(event: WalcastEvent<Order>) {
		const n: number = event.data.n;
		void n;
	},
	onClose({ reason, willReconnect, retryIn }) {
		const wait: number | null = willReconnect ? retryIn : null;
		void [reason, wait];
	},
	onGap(gap) {
		if (gap.source === 'server')
			told(gap);
		else
			void (gap.prev - gap.after);
	},
	onHeartbeat(beat) {
		void (beat.source === 'event' ? beat.head : beat.text);
	},
	onCannotResume: (gap) => (gap.lost > 0 ? 'start_fresh' : 'continue'),
	onError: (error) => {
		void (error.status ?? error.kind);
		const why: string | undefined = error.problem?.detail;
		void why;
	},
	beacon: '/sse-metrics.fcgi/beacon',
	metrics: { count: (name, by) => { void [name, by]; } },
};

function told(gap: ServerGap): number {
	return gap.lost;
}

const stream: WalcastStream = connect('/sse.fcgi', options);
stream.addEventListener('created', (event) => event.data);
stream.addEventListener('error', (error) => error.kind);
stream.addEventListener('open', (open) => open.status);
const off: () => void = stream.on('retry', ({ retryIn }) => retryIn.toFixed());
off();

async function loop(): Promise<void> {
	for await (const event of stream)
		void event.id;
}
void loop();

const stats = stream.stats();
const figures: [number, number | null, number] =
	[stats.events, stats.lagMs.p95, stats.duplicates];
void figures;

const kept: Store = {
	load: async () => null,
	save: ({ id, generation }) => { void [id, generation]; },
	clear() {},
};
void new WalcastStream(new URL('https://example.org/'), { storage: kept });

new EventStreamParser({ onEvent: ({ data }) => data.length }).push('data: x\n\n');

type Names = keyof Callbacks;
const names: Names[] = ['giveUp', 'livenessFailure', 'resumeAttempt'];
void names;

// @ts-expect-error: no such preset
connect('/', { retry: 'often' });
// @ts-expect-error: no such policy
connect('/', { cannotResume: 'perhaps' });
// @ts-expect-error: no such callback
stream.on('opened', () => {});
// @ts-expect-error: the state is not to be set
stream.state = 'open';
// @ts-expect-error: an answer that is none
connect('/', { onCannotResume: () => 'perhaps' });
