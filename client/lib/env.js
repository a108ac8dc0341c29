// SPDX-License-Identifier: MIT
//
// What the client takes from its surroundings: globals, a clock, timers, chance.
// Option `env` replaces it member by member, so that tests have a clock of their
// own; nothing else reads a global.

const LONGEST_TIMER_MS = 2 ** 31 - 1;

const OWN = {
	now: () => Date.now(),
	random: () => Math.random(),
	setTimeout: (f, ms) => setTimeout(f, Math.min(ms, LONGEST_TIMER_MS)),
	clearTimeout: (timer) => clearTimeout(timer),
};

// Globals are read when they are used: reading one may throw (localStorage).
export const makeEnv = (given) => new Proxy({ ...OWN, ...given }, {
	get: (own, name) => (name in own ? own[name] : globalThis[name]),
});
