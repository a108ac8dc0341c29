-- status.db, version 1: a row for each process, with a lease.
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
	-- a flat object of numbers
	counters   TEXT NOT NULL CHECK (
	               CASE WHEN json_valid(counters)
	               THEN json_type(counters) = 'object' ELSE 0 END),
	-- the counters are part of the totals; the row is remembered for a
	-- while, so that they can be taken out if the process comes back
	folded     INTEGER NOT NULL DEFAULT 0,
	-- how often they count in the sum that is being made: -1, 0, 1
	weight     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Counters of the processes that are gone.
INSERT INTO status (name, role, pid, version, started_ms, seen_ms, lease_ms,
                    head, cursor, streams, counters, weight)
VALUES ('totals', 'totals', 0, '', 0, 0, 0, 0, 0, 0, '{}', 1);

PRAGMA user_version = 1;

-- name: status_put
INSERT INTO status (name, role, pid, version, started_ms, seen_ms, lease_ms,
                    head, cursor, streams, counters)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (name) DO UPDATE SET
	role = excluded.role, pid = excluded.pid, version = excluded.version,
	started_ms = excluded.started_ms, seen_ms = excluded.seen_ms,
	lease_ms = excluded.lease_ms, head = excluded.head,
	cursor = excluded.cursor, streams = excluded.streams,
	counters = excluded.counters
WHERE name <> 'totals';

-- name: status_each
SELECT name, role, pid, version, started_ms, seen_ms, lease_ms, head, cursor,
       streams, counters
FROM status WHERE NOT folded ORDER BY name;

-- Those that a sum is to take in: the next three give a row when there are any.

-- name: status_mark_expired
UPDATE status SET folded = 1, weight = 1
WHERE NOT folded AND name <> 'totals' AND seen_ms < ?1 - lease_ms
RETURNING 1;

-- name: status_mark_gone
UPDATE status SET folded = 1, weight = 1
WHERE NOT folded AND name <> 'totals' AND name = ?1
RETURNING 1;

-- name: status_mark_back
UPDATE status SET folded = 0, weight = -1
WHERE folded AND name = ?1
RETURNING 1;

-- name: status_sum
UPDATE status SET counters = (
	SELECT json_group_object(key, value) FROM (
		SELECT c.key AS key,
		       CAST(total(c.value * s.weight) AS INTEGER) AS value
		FROM status AS s, json_each(s.counters) AS c
		WHERE s.weight <> 0 AND c.type IN ('integer', 'real')
		GROUP BY c.key))
WHERE name = 'totals';

-- name: status_unmark
UPDATE status SET weight = 0 WHERE weight <> 0 AND name <> 'totals';

-- name: status_forget
DELETE FROM status WHERE folded AND (seen_ms < ?1 OR counters = '{}');
