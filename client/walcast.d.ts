// SPDX-License-Identifier: MIT
//
// Types of the client; README.md says what each does.

/** Text of an event stream to events (HTML standard, 9.2.6). */
export class EventStreamParser {
	constructor(on?: ParserHandlers, options?: { maxLength?: number });
	/** Of the last block that ended. */
	readonly lastEventId: string;
	/** Bytes, cut anywhere, or strings; not both in one stream. */
	push(chunk: Uint8Array | ArrayBuffer | string): void;
	/** The stream has ended; what comes next is another one. */
	end(): void;
}

export interface ParserHandlers {
	onEvent?(event: ParsedEvent): void;
	/** A block with an id and without data. */
	onPosition?(id: string): void;
	onComment?(text: string): void;
	onRetry?(ms: number): void;
}

export interface ParsedEvent {
	/** The last event ID; of this block when hasId. */
	id: string;
	type: string;
	data: string;
	hasId: boolean;
}

export type State = 'idle' | 'connecting' | 'open' | 'retrying' | 'closed';
export type Transport = 'fetch' | 'eventsource' | 'shared' | 'none';

/** What handlers get.  The optional members come with envelopes only. */
export interface WalcastEvent<Data = any> {
	/** '' when the event has none of its own. */
	id: string;
	type: string;
	/** The JSON value that was published; without envelopes, the text. */
	data: Data;
	/** As EventSource says it: the position after this event. */
	lastEventId: string;
	channel?: string;
	/** When it was accepted, in milliseconds since 1970. */
	ts?: number;
	/** W3C traceparent. */
	trace?: string | null;
	/** The id before it on its channel. */
	prev?: number;
	/** It was missing, and fetched. */
	recovered?: boolean;
}

export interface StreamError extends Error {
	name: 'StreamError';
	kind: 'network' | 'timeout' | 'status' | 'no_content' | 'content_type' |
		'too_long' | 'request' | 'token' | 'auth_expired' | 'revoked' |
		'handler' | 'storage' | 'gave_up' |
		'unsupported' | 'cannot_resume';
	/** Nothing more is tried. */
	fatal: boolean;
	/** Of HTTP. */
	status?: number;
	/** What the server says of a refusal: application/problem+json. */
	problem?: { type?: string; title?: string; status?: number;
		detail?: string; } | null;
	/** Of Retry-After. */
	retryAfterMs?: number;
	cause?: unknown;
	/** What the handler that failed was called with. */
	event?: unknown;
	/** The stream's id, to join it with an access log. */
	stream?: string | null;
}

export interface Position {
	id: string;
	generation: string;
}

/** Each may return a promise. */
export interface Store {
	load(): Position | null | undefined | Promise<Position | null | undefined>;
	/** Called when the handler of the event has returned. */
	save(position: Position): unknown;
	clear(): unknown;
}

export interface Retry {
	initialDelayMs?: number;
	maxDelayMs?: number;
	multiplier?: number;
	/** Part of the delay that is chance, 0 to 1 (the default). */
	jitter?: number;
	/** In a row; an event, or five seconds of stream, begin anew. */
	maxAttempts?: number;
	maxElapsedMs?: number;
}

export type RetryPreset = 'aggressive' | 'standard' | 'conservative' | 'none';

/** Any of these; what one throws is ignored. */
export interface MetricsSink {
	count?(name: Counter, by: number): void;
	observe?(name: 'lagMs', value: number, ts?: number): void;
}

export type Counter = 'events' | 'bytes' | 'heartbeats' | 'attempts' | 'opens' |
	'reconnects' | 'duplicates' | 'outOfOrder' | 'gaps' | 'missing' |
	'recovered' | 'errors' | 'handlerErrors' | 'livenessFailures';

export interface Percentiles {
	n: number;
	p50: number | null;
	p95: number | null;
	p99: number | null;
	max: number | null;
}

export interface Stats extends Record<Counter, number> {
	state: State;
	transport: Transport;
	stream: string | null;
	generation: string;
	/** Where the next connection resumes. */
	lastEventId: string;
	/** What the handlers have done. */
	handledEventId: string;
	/** Received and not handled. */
	waiting: number;
	/** From connect() to the first event. */
	firstEventMs: number | null;
	/** Of the newest 512 live events, by the server's clock. */
	lagMs: Percentiles;
	clockOffsetMs: number;
	buffered: boolean;
}

/** Data of control.open. */
export interface Info {
	stream: string;
	generation: string;
	head: number;
	oldest: number;
	resumed_from: number | null;
	heartbeat_ms: number;
	server_time_ms: number;
}

export interface OpenInfo {
	status: number;
	/** X-SSE-Stream. */
	stream: string | null;
	reconnect: boolean;
	transport: Transport;
	/** 0, or how many attempts failed before. */
	attempt: number;
}

export interface CloseInfo {
	/**
	 * The end of one connection: the reason of control.close, the kind of an
	 * error, 'ended', 'gap', 'online', 'pagehide', 'freeze', 'restart',
	 * 'backpressure'; of the stream: 'stopped', 'aborted', 'gave_up',
	 * 'no_content', the kind of a fatal error.
	 */
	reason: string;
	willReconnect: boolean;
	/** Milliseconds, as they are kept; null: not by time, or never. */
	retryIn: number | null;
	status: number | undefined;
	error: StreamError | null;
}

export interface RetryInfo {
	reason: string;
	retryIn: number;
	attempt: number;
	error: StreamError | null;
}

export interface GiveUpInfo {
	reason: 'max_attempts' | 'max_elapsed';
	attempts: number;
	error: StreamError | null;
}

export type HeartbeatInfo =
	| { source: 'comment'; id: string; text: string }
	| { source: 'event'; id: string; head: number; serverTimeMs: number };

export interface ControlInfo {
	type: string;
	data: any;
	id: string;
}

export interface MisplacedInfo {
	id: string;
	/** The newest id that was taken before. */
	last: number;
	event: WalcastEvent;
	action: 'drop' | 'accept';
}

export interface ServerGap {
	code: 'expired' | 'ahead' | 'generation' | 'invalid';
	requested: number | string | null;
	oldest: number;
	newest: number;
	lost: number;
	/** Where the stream goes on. */
	id: string;
}

export type GapInfo =
	| ({ source: 'server' } & ServerGap)
	| {
		source: 'prev';
		channel: string;
		/** Up to here all was seen. */
		after: number;
		/** An event that is missing: the one before `id` on the channel. */
		prev: number;
		id: string;
		attempt: number;
		action: 'resume' | 'give_up';
	};

export type ResumePolicy = 'continue' | 'start_fresh' | 'close';

export interface CannotResumeInfo extends ServerGap {
	/** The log's now. */
	generation: string;
	policy: ResumePolicy | 'callback';
}

export interface LivenessInfo {
	cause: 'timeout' | 'sleep';
	silentMs: number;
	timeoutMs: number;
}

export interface ResumeInfo {
	lastEventId: string;
	generation: string;
	attempt: number;
}

export interface StateChange {
	from: State;
	to: State;
	reason: string;
}

export interface BufferedInfo {
	events: number;
	spreadMs: number;
}

/** By name for on(); with `on` before it, an option. */
export interface Callbacks {
	open: OpenInfo;
	event: WalcastEvent;
	close: CloseInfo;
	error: StreamError;
	retry: RetryInfo;
	giveUp: GiveUpInfo;
	heartbeat: HeartbeatInfo;
	control: ControlInfo;
	duplicate: MisplacedInfo;
	outOfOrder: MisplacedInfo;
	gap: GapInfo;
	livenessFailure: LivenessInfo;
	resumeAttempt: ResumeInfo;
	cannotResume: CannotResumeInfo;
	stateChange: StateChange;
	buffered: BufferedInfo;
}

/** onOpen, onEvent, and so on. */
export type CallbackOptions = {
	[Name in Exclude<keyof Callbacks, 'cannotResume'> as
		`on${Capitalize<Name>}`]?:
		(this: WalcastStream, info: Callbacks[Name]) => unknown;
} & {
	/** With the policy 'callback' its answer decides; 'continue' if none. */
	onCannotResume?(this: WalcastStream, info: CannotResumeInfo):
		ResumePolicy | void;
};

type Maybe<T> = T | Promise<T>;

export interface Options extends CallbackOptions {
	channels?: string | string[];
	/** Only these types; with it a missing event cannot be noticed. */
	events?: string[];
	/** Begin with the newest so many, when there is no id. */
	last?: number;
	/** Default true: data as JSON, with channel, ts, trace, prev. */
	envelope?: boolean;
	deliverControl?: boolean;

	/** Begin after this id; counts before what is stored. */
	lastEventId?: string | number;
	/** The log's to which lastEventId belongs. */
	generation?: string;
	storage?: 'memory' | 'local' | 'session' | Store;
	storageKey?: string;
	cannotResume?: ResumePolicy | 'callback';

	headers?: HeadersInit | (() => Maybe<HeadersInit>);
	/** Bearer (an EventSource: in the query).  What a function gave is kept
	 *  until the server has refused or ended it. */
	token?: string | (() => Maybe<string | null | undefined>);
	method?: string;
	body?: BodyInit | (() => Maybe<BodyInit>);
	credentials?: RequestCredentials;
	signal?: AbortSignal;

	retry?: RetryPreset | Retry;
	/** Statuses after which nothing more is tried; 200: no stream, but a page;
	 *  0: an EventSource was refused. */
	fatal?(status: number): boolean;
	connectTimeoutMs?: number;
	/** Instead of heartbeat_ms times livenessFactor plus a second; 0: never. */
	readTimeoutMs?: number;
	livenessFactor?: number;

	/** Handlers that return a promise get the next event after it. */
	sequential?: boolean;
	/** How many events may wait before reading pauses. */
	bufferSize?: number;
	/** Longest event, in characters. */
	maxLength?: number;
	dedupeSize?: number;
	dedupeTtlMs?: number;
	outOfOrder?: 'drop' | 'callback' | 'accept';

	/** One connection for all tabs; a name keeps users apart. */
	shared?: boolean | string;
	transport?: 'auto' | 'eventsource';
	/** Default: when the path is found to buffer. */
	padding?: boolean;

	metrics?: MetricsSink | MetricsSink[];
	/** Where figures of the page go, at most once a minute. */
	beacon?: string;
	logLevel?: LogLevel;
	logger?: Record<'error' | 'warn' | 'info' | 'debug', (line: string) => void>;

	/** For tests: globals, now, random, setTimeout, clearTimeout. */
	env?: Record<string, unknown>;
}

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';

type EventHandler = (this: WalcastStream, event: WalcastEvent) => unknown;

export class WalcastStream implements AsyncIterable<WalcastEvent> {
	constructor(url: string | URL, options?: Options);

	readonly url: string;
	readonly state: State;
	/** Where the next connection resumes; '' is live from now. */
	readonly lastEventId: string;
	readonly generation: string;
	/** What the last control.open said. */
	readonly info: Info | null;

	connect(): this;
	/** What was received and not handled will be asked for again. */
	stop(reason?: string): void;
	restart(): void;
	startFresh(): void;
	/** Returns how to take it back. */
	on<Name extends keyof Callbacks>(name: Name,
		handler: (this: WalcastStream, info: Callbacks[Name]) => unknown):
		() => void;
	addEventListener(type: 'open',
		handler: (this: WalcastStream, info: OpenInfo) => unknown): void;
	addEventListener(type: 'error',
		handler: (this: WalcastStream, error: StreamError) => unknown): void;
	addEventListener(type: string, handler: EventHandler): void;
	removeEventListener(type: string, handler: (info: any) => unknown): void;
	[Symbol.asyncIterator](): AsyncGenerator<WalcastEvent, void, undefined>;
	stats(): Stats;
}

/** new WalcastStream(url, options).connect() */
export function connect(url: string | URL, options?: Options): WalcastStream;
