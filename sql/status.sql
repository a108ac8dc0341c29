-- status.db, version 3: a row for each process, with a lease.
--
-- What it holds is soft: another version is dropped and made anew.

DROP TABLE IF EXISTS status;
CREATE TABLE status (
	name       TEXT PRIMARY KEY,
	role       TEXT NOT NULL,
	pid        INTEGER NOT NULL,
	version    TEXT NOT NULL,
	started_ms INTEGER NOT NULL,
	seen_ms    INTEGER NOT NULL,
	-- dead when seen_ms + lease_ms has passed
	lease_ms   INTEGER NOT NULL,
	head       INTEGER NOT NULL,
	cursor     INTEGER NOT NULL,
	streams    INTEGER NOT NULL,
	-- flat objects of whole numbers; gauges die with the lease
	counters   TEXT NOT NULL CHECK (
	               CASE WHEN json_valid(counters)
	               THEN json_type(counters) = 'object' ELSE 0 END),
	gauges     TEXT NOT NULL CHECK (
	               CASE WHEN json_valid(gauges)
	               THEN json_type(gauges) = 'object' ELSE 0 END),
	-- when the counters became part of the totals; the row is remembered
	-- for a while, so that they can be taken out if the process comes back
	folded_ms  INTEGER,
	-- how often they count in the sum that is being made: -1, 0, 1
	weight     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The folded are many more than the others where CGI processes come and go:
-- nothing but their forgetting may read them.
CREATE INDEX status_folded ON status (folded_ms);
CREATE INDEX status_weighed ON status (weight) WHERE weight <> 0;

-- Counters of the processes that are gone.
INSERT INTO status (name, role, pid, version, started_ms, seen_ms, lease_ms,
                    head, cursor, streams, counters, gauges, weight)
VALUES ('totals', 'totals', 0, '', 0, 0, 0, 0, 0, 0, '{}', '{}', 1);

-- The log as the last pubd knew it, in one row.
DROP TABLE IF EXISTS log;
CREATE TABLE log (
	one        INTEGER PRIMARY KEY CHECK (one = 1),
	generation TEXT NOT NULL,
	head       INTEGER NOT NULL
) STRICT;

-- The last errors and warnings of all processes; the newest 50 are kept.
DROP TABLE IF EXISTS errors;
CREATE TABLE errors (
	ts_ms INTEGER NOT NULL,
	name  TEXT NOT NULL,
	text  TEXT NOT NULL,
	PRIMARY KEY (ts_ms, name)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;

-- name: status_put
INSERT INTO status (name, role, pid, version, started_ms, seen_ms, lease_ms,
                    head, cursor, streams, counters, gauges)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (name) DO UPDATE SET
	role = excluded.role, pid = excluded.pid, version = excluded.version,
	started_ms = excluded.started_ms, seen_ms = excluded.seen_ms,
	lease_ms = excluded.lease_ms, head = excluded.head,
	cursor = excluded.cursor, streams = excluded.streams,
	counters = excluded.counters, gauges = excluded.gauges
WHERE name <> 'totals';

-- name: status_each
SELECT name, role, pid, version, started_ms, seen_ms, lease_ms, head, cursor,
       streams, counters, gauges
FROM status WHERE folded_ms IS NULL ORDER BY name;

-- name: status_find
SELECT name, role, pid, version, started_ms, seen_ms, lease_ms, head, cursor,
       streams, counters, gauges
FROM status WHERE name = ?1;

-- name: status_reset
UPDATE status SET counters = '{}' WHERE name = 'totals';

-- name: status_reset_gone
-- Who comes back counts as a new one: what he had counted is not in the totals.
DELETE FROM status WHERE folded_ms IS NOT NULL;

-- name: status_log
SELECT generation, head FROM log;

-- name: status_log_put
INSERT INTO log (one, generation, head) VALUES (1, ?1, ?2)
ON CONFLICT (one) DO UPDATE SET
	generation = excluded.generation, head = excluded.head;

-- name: status_error
INSERT OR IGNORE INTO errors (ts_ms, name, text) VALUES (?1, ?2, ?3);

-- name: status_errors_trim
DELETE FROM errors WHERE (ts_ms, name) NOT IN
	(SELECT ts_ms, name FROM errors ORDER BY ts_ms DESC, name LIMIT 50);

-- name: status_errors
SELECT ts_ms, name, text FROM errors ORDER BY ts_ms DESC, name;

-- name: status_less
-- Has the row of this name counted more than these counters say?
SELECT 1 FROM status
WHERE name = ?1 AND name <> 'totals' AND counters <> ?2 AND EXISTS (
	SELECT 1 FROM (
		SELECT key, value AS before, 0 AS now FROM json_each(counters)
		UNION ALL
		SELECT key, 0, value
		FROM json_each(iif(json_valid(?2), ?2, '{}')))
	GROUP BY key HAVING max(before) > max(now));

-- name: status_drop
DELETE FROM status WHERE name = ?1 AND folded_ms IS NOT NULL;

-- Those that a sum is to take in: the next three give a row when there are any.

-- name: status_mark_expired
UPDATE status SET folded_ms = ?1, weight = 1
WHERE folded_ms IS NULL AND name <> 'totals'
	AND seen_ms NOT BETWEEN ?1 - lease_ms AND ?1 + lease_ms
RETURNING 1;

-- name: status_mark_gone
UPDATE status SET folded_ms = ?2, weight = 1
WHERE folded_ms IS NULL AND name <> 'totals' AND name = ?1
RETURNING 1;

-- name: status_mark_back
UPDATE status SET folded_ms = NULL, weight = -1
WHERE folded_ms IS NOT NULL AND name = ?1
RETURNING 1;

-- name: status_sum
-- The halves are summed each for itself: exact, and no process's nonsense
-- makes an overflow, which would stop the folding of all.
UPDATE status SET counters = (
	SELECT json_group_object(key,
		iif(hi + (lo >> 32) < 0, 0,
		    (min(hi + (lo >> 32), 2147483647) << 32)
		    + (lo & 4294967295))) FROM (
		SELECT c.key AS key,
		       sum((c.value >> 32) * s.weight) AS hi,
		       sum((c.value & 4294967295) * s.weight) AS lo
		FROM status AS s, json_each(s.counters) AS c
		WHERE s.weight <> 0 AND c.type IN ('integer', 'real')
		GROUP BY c.key))
WHERE name = 'totals';

-- name: status_unmark
UPDATE status SET weight = 0 WHERE weight <> 0 AND name <> 'totals';

-- name: status_forget
-- After a while, or when others were folded since: whoever may report could
-- fill the disk with names otherwise.
DELETE FROM status WHERE folded_ms < ?1
	OR (folded_ms IS NOT NULL AND counters = '{}')
	OR name IN (SELECT name FROM status WHERE folded_ms IS NOT NULL
		ORDER BY folded_ms DESC LIMIT -1 OFFSET ?2);
