// SPDX-License-Identifier: MIT
// A token for a reader: node token.mjs KEYFILE USER CHANNEL
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
const [file, user, channel] = process.argv.slice(2);
const key = readFileSync(file, "latin1").replace(/[\r\n]+$/, "");
const now = Math.floor(Date.now() / 1000);
const text = [{ alg: "HS256", typ: "JWT" }, { sub: user, iat: now, exp: now + 3600,
	jti: randomUUID(), walcast: { read: [channel] } }]
	.map((o) => Buffer.from(JSON.stringify(o)).toString("base64url")).join(".");
console.log(text + "." + createHmac("sha256", Buffer.from(key, "latin1")).update(text).digest("base64url"));
