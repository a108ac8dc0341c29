"use strict";
/*
 * Shows the JSON that comes once a second over the stream of system.status,
 * or, when nothing comes by it, every two seconds by fetch.  All text goes in
 * by textContent.  Rates and percentiles are made here, of two samples.
 */
(function () {
const SECONDS = 300;		/* shown by the charts at most */
const RATE_S = 5;		/* over which a rate is taken */
const MINUTE_S = 60;
const QUIET_MS = 4000;		/* without a stream's event: fetch */
const FETCH_MS = 2000;
const STREAM_AGAIN_MS = 30000;	/* after the stream was refused */
const LOST_MS = 8000;		/* without an answer: say so */
const SVG = "http://www.w3.org/2000/svg";
const HISTS = ["delivery_latency", "publish_latency", "commit_duration",
	"fsync_duration", "wake_latency"].map((n) => "sse_" + n + "_seconds");

const at = (id) => document.getElementById(id);
let samples = [];		/* oldest first */
let shownS = MINUTE_S;		/* what the charts show: whole minutes */

/* ---- reading ---------------------------------------------------------- */

class Sample {
	constructor(doc) {
		this.doc = doc;
		this.t = doc.generated_ms / 1000;
		this.families = new Map(doc.metrics.map((m) => [m.name, m]));
	}
	series(name) {
		const family = this.families.get(name);
		return family ? family.series : [];
	}
	/* The value of the series with this label's value, else of the only
	   one; undefined when it is not there. */
	value(name, label) {
		const found = this.series(name).find((s) => label === undefined ||
			Object.values(s.labels)[0] === label);
		return found && found.value;
	}
	sum(name) {
		return this.series(name).reduce((n, s) => n + s.value, 0);
	}
	hist(name) {
		return this.series(name)[0];
	}
	/* What history needs, without the rest. */
	slim() {
		const keep = ["sse_streams_open", "sse_lag_events_max"];
		for (const [name, m] of this.families)
			if (m.type !== "counter" && !keep.includes(name) &&
			    !HISTS.includes(name))
				this.families.delete(name);
		this.doc = null;
	}
}

/* The sample of so many seconds ago, or the oldest; null when none is. */
function ago(seconds, from) {
	const last = from === undefined ? samples.length - 1 : from;
	let i = last;
	while (i > 0 && samples[last].t - samples[i].t < seconds)
		i--;
	return i < last ? samples[i] : null;
}

/* How much a counter grew since `then`, a second; null when unknown. */
function rate(name, label, from) {
	const last = from === undefined ? samples.length - 1 : from;
	const now = samples[last], then = ago(RATE_S, last);
	if (!then)
		return null;
	const grown = total(now, name, label) - total(then, name, label);
	return Math.max(grown, 0) / (now.t - then.t);
}

function total(sample, name, label) {
	return label === undefined ? sample.sum(name)
		: sample.value(name, label) || 0;
}

/* As hist_quantile() of the server, over what was counted since `then`. */
function quantile(now, then, q) {
	if (!now)
		return null;
	const before = then ? then.buckets : [];
	const n = now.buckets.map(([, c], i) =>
		c - (before[i] ? before[i][1] : 0));
	const rank = n[n.length - 1] * q;
	if (!(n[n.length - 1] > 0))
		return null;
	for (let i = 0, low = 0, below = 0; i < n.length; i++) {
		const high = now.buckets[i][0];
		if (n[i] > below && n[i] >= rank)
			return high === "+Inf" ? low
				: low + (high - low) * (rank - below) / (n[i] - below);
		below = n[i];
		low = high;
	}
	return null;
}

function percentile(name, q, seconds, from) {
	const last = from === undefined ? samples.length - 1 : from;
	const then = ago(seconds, last);
	return then && quantile(samples[last].hist(name), then.hist(name), q);
}

/* ---- words ------------------------------------------------------------ */

const NONE = "–";
const known = (v) => v !== null && v !== undefined && !Number.isNaN(v);

function count(v) {
	return known(v) ? Math.round(v).toLocaleString("en-US") : NONE;
}

/* [text, unit] of a number that may be a fraction or large. */
function short(v) {
	if (!known(v))
		return [NONE, ""];
	if (v >= 1e9)
		return [(v / 1e9).toFixed(2), "G"];
	if (v >= 1e6)
		return [(v / 1e6).toFixed(2), "M"];
	if (v >= 1e5)
		return [(v / 1e3).toFixed(0), "k"];
	return [v > 0 && v < 10 ? v.toFixed(1) : count(v), ""];
}

function bytes(v) {
	if (!known(v))
		return [NONE, ""];
	const units = ["B", "kB", "MB", "GB", "TB"];
	let i = 0;
	while (v >= 1000 && i < units.length - 1) {
		v /= 1000;
		i++;
	}
	return [i > 0 && v < 100 ? v.toFixed(1) : v.toFixed(0), units[i]];
}

function time(s) {
	if (!known(s))
		return [NONE, ""];
	if (s < 0.001)
		return [(s * 1e6).toFixed(0), "µs"];
	if (s < 1)
		return [(s * 1000).toFixed(s < 0.1 ? 1 : 0), "ms"];
	return [s.toFixed(s < 10 ? 1 : 0), "s"];
}

function span(s) {
	if (s < 0)
		s = 0;
	if (s < 60)
		return Math.round(s) + " s";
	if (s < 3600)
		return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
	if (s < 86400)
		return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
	return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

const join = ([text, unit]) => unit ? text + " " + unit : text;
const clock = (ms) => new Date(ms).toTimeString().slice(0, 8);

function day(ms) {
	const d = new Date(ms), two = (n) => String(n).padStart(2, "0");
	return d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" +
		two(d.getDate()) + " " + clock(ms);
}

const plural = (n, one, many) => count(n) + " " + (n === 1 ? one : many);

/* ---- drawing ---------------------------------------------------------- */

function make(tag, className, text) {
	const e = document.createElement(tag);
	if (className)
		e.className = className;
	if (text !== undefined)
		e.textContent = text;
	return e;
}

function draw(tag, attributes) {
	const e = document.createElementNS(SVG, tag);
	for (const [k, v] of Object.entries(attributes))
		e.setAttribute(k, v);
	return e;
}

function say(e, text) {
	if (e.textContent !== text)
		e.textContent = text;
}

/* A drawing of 300 x 100 that a text stands for; lines of classes. */
function canvas(classes) {
	const svg = draw("svg", {viewBox: "0 0 300 100", role: "img",
		preserveAspectRatio: "none"});
	svg.paths = classes.map((c) =>
		svg.appendChild(draw("path", {class: c, d: "M0 100"})));
	return svg;
}

/* Points of a line; what is not known interrupts it. */
function points(values, high) {
	const end = samples.length ? samples[samples.length - 1].t : 0;
	const runs = [];
	let run = null;
	values.forEach((v, i) => {
		if (!known(v) || end - samples[i].t > shownS) {
			run = null;
			return;
		}
		if (!run)
			runs.push(run = []);
		const x = 300 * (1 - (end - samples[i].t) / shownS);
		run.push([x.toFixed(1), (97 - 92 * v / high).toFixed(1)]);
	});
	return runs;
}

const lineOf = (runs) => runs.map((r) => "M" + r.map((p) =>
	p.join(" ")).join("L")).join("") || "M0 100";
const areaOf = (runs) => runs.map((r) => "M" + r[0][0] + " 100L" +
	r.map((p) => p.join(" ")).join("L") + "L" + r[r.length - 1][0] +
	" 100Z").join("") || "M0 100";

/* A round number not below v. */
function ceiling(v) {
	if (!(v > 0))
		return 1;
	const ten = Math.pow(10, Math.floor(Math.log10(v)));
	return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((n) => n * ten).find((n) => n >= v);
}

const minutes = () => shownS === MINUTE_S ? "minute"
	: shownS / MINUTE_S + " minutes";

function describe(title, values, words) {
	const there = values.filter(known);
	if (!there.length)
		return title + ": nothing to show yet.";
	return title + " over the last " + minutes() + ": now " +
		words(there[there.length - 1]) + ", lowest " +
		words(Math.min(...there)) + ", highest " +
		words(Math.max(...there)) + ".";
}

/* ---- tiles ------------------------------------------------------------ */

const perSecond = (name, label) => (i) => rate(name, label, i);
const p99 = (name) => (i) => percentile(name, .99, RATE_S, i);

const tiles = [
	{title: "Streams open", words: short,
		of: (i) => samples[i].value("sse_streams_open"),
		more: (s) => {
			const lag = s.value("sse_streams_lagging");
			return lag > 0 ? plural(lag, "is", "are") + " behind"
				: lag === 0 ? "none is behind" : "";
		}},
	{title: "Events in", words: short, unit: "/s",
		of: perSecond("sse_events_published_total"),
		more: (s) => count(s.value("sse_events_published_total")) + " in all"},
	{title: "Deliveries", words: short, unit: "/s",
		of: perSecond("sse_events_sent_total"),
		more: (s) => count(s.value("sse_events_sent_total")) + " in all"},
	{title: "Bytes out", words: bytes, unit: "/s",
		of: perSecond("sse_bytes_sent_total"),
		more: (s) => join(bytes(s.value("sse_bytes_sent_total"))) + " in all"},
	{title: "Streams opened", words: short, unit: "/s",
		of: perSecond("sse_streams_opened_total"),
		more: (s) => {
			const r = s.value("sse_connection_success_ratio");
			return known(r) ? (100 * r).toFixed(r < .9995 ? 1 : 0) +
				" % of those asked for" : "nobody asked lately";
		}},
	{title: "Delivery, p99", words: time, of: p99(HISTS[0]),
		more: () => "half within " +
			join(time(percentile(HISTS[0], .5, RATE_S)))},
	{title: "Publish to ack, p99", words: time, of: p99(HISTS[1]),
		more: () => "half within " +
			join(time(percentile(HISTS[1], .5, RATE_S)))},
	{title: "Furthest behind", words: short, unit: "events",
		of: (i) => samples[i].value("sse_lag_events_max"),
		more: (s) => count(s.value("sse_streams_replaying")) +
			" replay from the store"},
];

function makeTile(t) {
	const box = make("article", "tile");
	t.big = make("p", "big");
	t.number = t.big.appendChild(document.createElement("span"));
	t.small = t.big.appendChild(make("small"));
	t.note = make("p", "more");
	t.svg = canvas(["area", "line"]);
	box.append(make("h3", "", t.title), t.big, t.note, t.svg);
	at("tiles").append(box);
}

function showTile(t, now) {
	const values = samples.map((_, i) => t.of(i));
	const [text, unit] = t.words(values[values.length - 1]);
	const runs = points(values, Math.max(...values.filter(known), 1e-9));
	say(t.number, text);
	say(t.small, text === NONE ? "" : unit + (t.unit && t.unit[0] !== "/" &&
		unit ? " " : "") + (t.unit || ""));
	say(t.note, t.more(now));
	t.svg.paths[0].setAttribute("d", areaOf(runs));
	t.svg.paths[1].setAttribute("d", lineOf(runs));
	t.svg.setAttribute("aria-label", describe(t.title, values,
		(v) => join(t.words(v)) + (t.unit || "")));
}

/* ---- charts ----------------------------------------------------------- */

const charts = [
	/* apart: each line has a scale of its own, the second one's at the right */
	{at: "chart-traffic", title: "Traffic", words: (v) => join(short(v)) + "/s",
		keys: ["deliveries", "events in"], apart: true,
		of: [perSecond("sse_events_sent_total"),
			perSecond("sse_events_published_total")]},
	{at: "chart-latency", title: "Delivery latency", words: (v) => join(time(v)),
		keys: ["p99", "p50"],
		of: [p99(HISTS[0]), (i) => percentile(HISTS[0], .5, RATE_S, i)]},
];

function makeChart(c) {
	const caption = make("figcaption"), plot = make("div", "plot");
	const axis = make("div", "axis");
	caption.append(make("strong", "", c.title),
		make("span", "key", c.keys[0]), make("span", "key second", c.keys[1]));
	c.svg = canvas(["grid", "area", "line", "line2"]);
	c.svg.paths[0].setAttribute("d", "M0 5H300M0 51H300M0 97H300");
	c.marks = ["high", "half", "high right", "half right"].map((name) =>
		make("span", name));
	plot.append(c.svg, ...c.marks);
	c.from = make("span");
	axis.append(c.from, make("span", "", "now"));
	axis.setAttribute("aria-hidden", "true");
	at(c.at).append(caption, plot, axis);
}

function showChart(c) {
	const lines = c.of.map((f) => samples.map((_, i) => f(i)));
	const top = (values) => ceiling(Math.max(0, ...values.filter(known)));
	const empty = !lines.flat().some(known);
	const high = c.apart ? lines.map(top) : [top(lines.flat()), top(lines.flat())];
	const runs = lines.map((v, i) => points(v, high[i]));
	[high[0], high[0] / 2, high[1], high[1] / 2].forEach((v, i) =>
		say(c.marks[i], empty || (i > 1 && !c.apart) ? "" : c.words(v)));
	c.svg.paths[1].setAttribute("d", areaOf(runs[0]));
	c.svg.paths[2].setAttribute("d", lineOf(runs[0]));
	c.svg.paths[3].setAttribute("d", lineOf(runs[1]));
	c.svg.setAttribute("aria-label", lines.map((v, i) =>
		describe(c.title + ", " + c.keys[i], v, c.words)).join(" "));
	say(c.from, shownS === MINUTE_S ? "a minute ago" : minutes() + " ago");
}

/* ---- tables ----------------------------------------------------------- */

/* rows: {cells: [text...], numbers: from which column, kind: class}.  Rows
   that are there are used again, so that a selection or a focus stays. */
function fill(body, rows) {
	while (body.rows.length > rows.length)
		body.deleteRow(-1);
	rows.forEach((row, r) => {
		const tr = body.rows[r] || body.insertRow();
		tr.className = row.kind || "";
		row.cells.forEach((text, c) => {
			let cell = tr.cells[c];
			if (!cell) {
				cell = tr.appendChild(make(c ? "td" : "th"));
				if (!c)
					cell.scope = "row";
			}
			cell.className = (row.numbers || []).includes(c) ? "n"
				: c === 0 && row.sub ? "sub" : "";
			say(cell, text);
		});
	});
}

function facts(list, pairs) {
	while (list.children.length > pairs.length)
		list.lastChild.remove();
	pairs.forEach(([name, text, part], i) => {
		let row = list.children[i];
		if (!row) {
			row = list.appendChild(make("div"));
			row.append(make("dt"), make("dd"));
		}
		say(row.children[0], name);
		say(row.children[1], text);
		if (part === undefined && row.children[2])
			row.children[2].remove();
		if (part !== undefined)
			bar(row, part);
	});
}

function bar(row, part) {
	let svg = row.children[2];
	if (!svg) {
		svg = draw("svg", {class: "bar", viewBox: "0 0 100 4",
			preserveAspectRatio: "none", "aria-hidden": "true"});
		svg.append(draw("rect", {width: 100, height: 4}),
			draw("rect", {height: 4}));
		row.append(svg);
	}
	svg.lastChild.setAttribute("width", Math.min(100 * part, 100).toFixed(1));
}

function counter(title, name, label, kind) {
	const now = samples[samples.length - 1], then = ago(MINUTE_S);
	const all = total(now, name, label);
	const grown = then ? all - total(then, name, label) : null;
	return {cells: [title, count(known(grown) ? Math.max(grown, 0) : null),
		count(all)], numbers: [1, 2], kind: grown > 0 ? kind : ""};
}

/* A line for each value of the label that was counted. */
function reasons(name, skip, kind) {
	const now = samples[samples.length - 1];
	return now.series(name).filter((s) => s.value > 0).map((s) =>
		Object.values(s.labels)[0]).filter((l) => l !== skip).map((l) =>
		Object.assign(counter(l.replace(/_/g, " "), name, l, kind),
			{sub: true}));
}

function showStreams(s) {
	fill(at("streams"), [
		counter("Opened", "sse_streams_opened_total"),
		counter("Closed: the client left", "sse_streams_closed_total", "left"),
		...reasons("sse_streams_closed_total", "left").map((r) =>
			(r.cells[0] = "closed: " + r.cells[0], r)),
		counter("Turned away", "sse_streams_rejected_total", undefined, "warn"),
		...reasons("sse_streams_rejected_total"),
		counter("Resumed", "sse_resumes_total", "ok"),
		counter("Resumed with a gap", "sse_resumes_total", "gap", "warn"),
		counter("Resume failed", "sse_resumes_total", "failed", "warn"),
		counter("Gaps sent", "sse_gaps_total", undefined, "warn"),
		...reasons("sse_gaps_total"),
	]);
	const open = s.series("sse_front_streams_open").filter((f) => f.value > 0);
	const free = s.value("sse_front_slots_free");
	let text = open.map((f) => count(f.value) + " through " +
		f.labels.front).join(", ");
	if (known(free))
		text += (text ? "; " : "") + "room for " + count(free) + " of " +
			count(s.value("sse_front_slots_limit"));
	say(at("fronts"), text && text + ".");
}

function showPublish() {
	fill(at("publish"), [
		counter("Published", "sse_events_published_total"),
		counter("Publish errors", "sse_publish_errors_total", undefined, "warn"),
		...reasons("sse_publish_errors_total"),
		counter("Answered as duplicates", "sse_publish_duplicates_total"),
		counter("Commits", "sse_commits_total"),
		counter("Commits that failed", "sse_commit_failures_total", undefined, "bad"),
		counter("Delivered", "sse_events_sent_total"),
		counter("Replayed from the store", "sse_replay_events_total"),
		counter("Heartbeats", "sse_heartbeats_sent_total"),
		counter("Sent twice", "sse_duplicate_deliveries_total", undefined, "bad"),
		counter("Ids missing in the log", "sse_id_gaps_total", undefined, "bad"),
		counter("Reads of the log that failed", "sse_store_errors_total", undefined, "bad"),
	]);
}

function showLatency(s) {
	const titles = ["Delivery", "Publish to ack", "Commit", "Sync of the disk", "Wake of a worker"];
	fill(at("latency"), titles.map((title, i) => ({
		cells: [title, ...[.5, .95, .99].map((q) =>
			join(time(percentile(HISTS[i], q, MINUTE_S)))),
		join(time(quantile(s.hist(HISTS[i]), null, .99)))],
		numbers: [1, 2, 3, 4]})));
}

function showLog(s) {
	const size = s.value("sse_log_bytes"), limit = s.value("sse_log_retain_bytes");
	const rows = [["Newest id", count(s.value("sse_log_head"))],
		["Oldest id retained", count(s.value("sse_log_oldest"))],
		["Events retained", count(s.value("sse_log_events"))],
		limit > 0 ? ["Size of the log", join(bytes(size)) + " of " +
			join(bytes(limit)), size / limit]
			: ["Size of the log", join(bytes(size))],
		["Write-ahead file", join(bytes(s.value("sse_wal_bytes")))],
		["Room on the disk", join(bytes(s.value("sse_disk_free_bytes")))],
		["Trimmed by retention", count(s.value("sse_events_trimmed_total"))],
		["Checkpoints blocked", count(s.value("sse_checkpoints_blocked_total")) +
			" of " + count(s.value("sse_checkpoints_total"))]];
	const info = s.series("sse_log_info")[0];
	if (info)
		rows.push(["Generation", info.labels.generation]);
	facts(at("log"), rows);
}

function showProcesses(doc, s) {
	const order = ["pubd", "worker", "cgi", "metrics"];
	const list = doc.processes.slice().sort((a, b) =>
		order.indexOf(a.role) - order.indexOf(b.role) ||
		a.started_ms - b.started_ms);
	fill(at("processes"), list.map((p) => {
		const streams = p.role === "worker" || p.role === "cgi";
		return {cells: [p.role, p.alive ? "alive" : "gone", String(p.pid),
			span((doc.generated_ms - p.started_ms) / 1000),
			span((doc.generated_ms - p.seen_ms) / 1000) + " ago",
			streams ? count(p.streams) : "",
			streams ? count(Math.max(p.head - p.cursor, 0)) : "",
			p.version], numbers: [2, 3, 4, 5, 6],
		kind: p.alive ? "" : "dead"};
	}));
	facts(at("resources"), [
		["Descriptors of the fullest process", known(s.value("sse_fds_used_ratio"))
			? count(s.value("sse_fds_used")) + " (" + (100 *
			s.value("sse_fds_used_ratio")).toFixed(1) + " %)" : NONE],
		["Memory of workers", join(bytes(s.value("sse_resident_memory_bytes", "worker")))],
		["Memory of pubd", join(bytes(s.value("sse_resident_memory_bytes", "pubd")))],
		["Memory for a stream", join(bytes(s.value("sse_stream_memory_bytes")))],
		["Rings", join(bytes(s.value("sse_ring_bytes"))) + ", " +
			plural(s.value("sse_ring_events"), "event", "events")],
		["Log lines left out", count(s.value("sse_log_lines_dropped_total"))],
	]);
}

function showBrowsers(s) {
	const n = s.value("sse_beacons_total", "accepted") || 0;
	at("browsers-card").hidden = n === 0;
	if (n === 0)
		return;
	const q = (name, p) => join(time(quantile(s.hist(name), null, p)));
	facts(at("browsers"), [
		["Reports", count(n)],
		["First event, p50 and p99", q("sse_browser_first_event_seconds", .5) +
			", " + q("sse_browser_first_event_seconds", .99)],
		["Lag, p50 and p99", q("sse_browser_lag_seconds", .5) + ", " +
			q("sse_browser_lag_seconds", .99)],
		["Reconnects", count(s.value("sse_browser_reconnects_total"))],
		["Gaps", count(s.value("sse_browser_gaps_total"))],
		["Seen twice", count(s.value("sse_browser_duplicates_total"))],
		["Missing", count(s.value("sse_browser_missing_total"))],
		["Held back on the way", count(s.value("sse_browser_buffered_total"))],
	]);
}

function showErrors(doc) {
	fill(at("errors"), doc.errors.slice(0, 12).map((e) => ({
		cells: [day(e.ts_ms), e.name.replace(/-\d+$/, ""), e.text]})));
	at("no-errors").hidden = doc.errors.length > 0;
	at("errors").closest(".scroll").hidden = doc.errors.length === 0;
}

/* ---- the state -------------------------------------------------------- */

/* The worst first: [level, sentence, detail]. */
function judge(doc, s) {
	const store = doc.reasons.find((r) => r.part === "store");
	const pubd = doc.reasons.find((r) => r.part === "pubd");
	const lag = s.value("sse_streams_lagging") || 0;
	const behind = s.value("sse_lag_events_max") || 0;
	const fds = s.value("sse_fds_used_ratio") || 0;
	if (store)
		return ["bad", "The log cannot be read.", store.reason];
	if (pubd && doc.pubd.alive)
		return ["bad", "pubd does not answer.", pubd.reason];
	if (pubd && known(doc.pubd.age_ms))
		return ["bad", "pubd is silent since " +
			clock(doc.generated_ms - doc.pubd.age_ms) + ".",
		"Its last heartbeat is " + span(doc.pubd.age_ms / 1000) +
			" old. Nothing can be published by socket; streams go on. " +
			"The figures are those that were last written."];
	if (pubd)
		return pubd.reason.startsWith("pubd does not run")
			? ["bad", "pubd does not run.", "Nothing can be published " +
				"by socket until it is started; streams go on. " +
				"The figures are those that were last written."]
			: ["bad", "There is nothing to be read of pubd.", pubd.reason];
	if (s.value("sse_duplicate_delivery_rate") > 0)
		return ["warn", "Events are sent twice to a stream.",
			"That is a defect; please report it."];
	if (fds > .8)
		return ["warn", "A process runs out of descriptors.",
			"It uses " + (100 * fds).toFixed(0) + " % of its limit."];
	if (s.value("sse_checkpoint_pages_left") > 100000)
		return ["warn", "A reader keeps the write-ahead file from shrinking.",
			count(s.value("sse_checkpoint_pages_left")) + " pages wait."];
	if (lag > 0 && behind > 1000)
		return ["warn", plural(lag, "stream is", "streams are") + " behind.",
			"The furthest by " + count(behind) + " events."];
	return ["good", "All is well.", well(s)];
}

function well(s) {
	const workers = (s.value("sse_process_up", "worker") || 0) +
		(s.value("sse_process_up", "cgi") || 0);
	const p = percentile(HISTS[0], .99, MINUTE_S);
	return plural(workers, "worker holds ", "workers hold ") +
		plural(s.value("sse_streams_open") || 0, "stream", "streams") +
		(known(p) ? "; in the last minute 99 of 100 deliveries took less than " +
			join(time(p)) : "") + ".";
}

const MARKS = {good: "✓", warn: "!", bad: "✕", wait: "…"};

function state([level, sentence, detail]) {
	at("state").dataset.level = level;
	say(at("mark"), MARKS[level]);
	say(at("sentence"), sentence);
	say(at("detail"), detail);
	document.title = (level === "good" ? "" : MARKS[level] + " ") + "Walcast status";
}

/* ---- a sample comes --------------------------------------------------- */

let heardMs = performance.now(), heard = false, lost = false;

function take(doc) {
	const s = new Sample(doc), last = samples[samples.length - 1];
	heardMs = performance.now();
	heard = true;
	lost = false;
	if (last && s.t <= last.t)
		return;
	if (last)
		last.slim();
	samples.push(s);
	samples = samples.filter((o) => s.t - o.t <= SECONDS + RATE_S);
	shownS = Math.min(SECONDS, MINUTE_S *
		Math.max(1, Math.ceil((s.t - samples[0].t) / MINUTE_S)));
	state(judge(doc, s));
	tiles.forEach((t) => showTile(t, s));
	charts.forEach(showChart);
	showLatency(s);
	showLog(s);
	showStreams(s);
	showPublish();
	showProcesses(doc, s);
	showBrowsers(s);
	showErrors(doc);
	const build = s.series("sse_build_info")[0];
	say(at("build"), build ? "Walcast " + build.labels.version + "." : "");
}

/* ---- from where ------------------------------------------------------- */

let source = null, streamMs = -QUIET_MS, openedMs = 0;
let fetchedMs = -FETCH_MS, fetching = false;

function watch() {
	openedMs = performance.now();
	source = new EventSource("?channel=system.status");
	source.addEventListener("system.status", (e) => {
		streamMs = performance.now();
		take(JSON.parse(e.data));
	});
}

async function get() {
	fetching = true;
	fetchedMs = performance.now();
	try {
		const answer = await fetch("?format=json", {cache: "no-store",
			signal: AbortSignal.timeout(LOST_MS)});
		if (answer.ok)
			take(await answer.json());
	} catch (e) {
		/* The next one may come through; if not, it is said. */
	}
	fetching = false;
}

/* Once a second: is the stream alive, is anything? */
function look() {
	const now = performance.now(), live = now - streamMs < QUIET_MS;
	const age = Math.round((now - heardMs) / 1000);
	if (source.readyState === EventSource.CLOSED &&
	    now - openedMs > STREAM_AGAIN_MS)
		watch();
	if (!live && !fetching && now - fetchedMs >= FETCH_MS &&
	    now - openedMs > QUIET_MS / 2)
		get();
	if (now - heardMs > LOST_MS && !lost) {
		lost = true;
		state(["bad", "There is no answer since " +
			clock(Date.now() - (now - heardMs)) + ".",
		heard ? "The figures below are what was last heard."
			: "The web server or sse-metrics.fcgi does not answer."]);
	}
	at("link").dataset.state = lost ? "lost" : live ? "live" : "wait";
	say(at("link-text"), lost ? "no answer for " + age + " s"
		: live ? "live, by its own stream"
		: heard ? "fetched every " + FETCH_MS / 1000 + " s" : "connecting");
}

tiles.forEach(makeTile);
charts.forEach(makeChart);
watch();
setInterval(look, 1000);
}());
