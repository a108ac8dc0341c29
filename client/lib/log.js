// SPDX-License-Identifier: MIT
//
// A logger with levels that says nothing secret.

const LEVELS = ['silent', 'error', 'warn', 'info', 'debug'];

const SECRETS = [
	// A parameter of a URL whose name says so, and a user's password.
	[/([?&;][^=&\s]*(?:token|key|secret|auth|pass|sig|jwt|session)[^=&\s]*=)[^&#\s"']+/gi, '$1***'],
	[/(:\/\/)[^/@\s]+@/g, '$1***@'],
	[/\b(Bearer|Basic)\s+[^\s"',]+/gi, '$1 ***'],
	// A JSON Web Token, wherever it stands.
	[/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '***'],
];

export const redact = (text) => SECRETS.reduce(
    (clean, [secret, instead]) => clean.replace(secret, instead), String(text));

/** {error, warn, info, debug}(message); each goes to `logger` or nowhere. */
export function makeLog(level = 'warn', logger = console) {
	const limit = LEVELS.indexOf(level);
	if (limit < 0)
		throw new TypeError(
		    `no log level "${level}"; there are: ${LEVELS.join(', ')}`);
	const log = {};
	LEVELS.slice(1).forEach((name, i) => {
		log[name] = (message) => {
			if (i < limit)
				logger[name](redact(`walcast: ${message}`));
		};
	});
	return log;
}
