// SPDX-License-Identifier: MIT

import type { LogLevel, MetricsSink, Percentiles } from './walcast.js';

export interface MemorySink extends Required<MetricsSink> {
	counters: Record<string, number>;
	observed: Record<string, { summary(): Percentiles }>;
}

/** Keeps all. */
export function memorySink(): MemorySink;
/** Says each figure with debug(). */
export function consoleSink(out?: { debug(line: string): void }): MetricsSink;
/** text(): the figures as Prometheus reads them. */
export function prometheusSink(): MemorySink & { text(): string };
/** The text without tokens, passwords and the like. */
export function redact(text: string): string;
