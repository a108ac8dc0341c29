-- The statements of the store, by name.  `-- name: X` begins one; it becomes
-- the C string sql_X.

-- name: append
INSERT INTO events (ts, channel, event, key, trace, prev, json, data)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: key_id
SELECT id FROM events WHERE channel = ?1 AND key = ?2 AND key IS NOT NULL;

-- name: channel_last
SELECT last_id FROM channels WHERE name = ?1;

-- name: channel_set
INSERT INTO channels (name, last_id) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET last_id = excluded.last_id;

-- name: channels
SELECT name, last_id FROM channels WHERE name > ?1 ORDER BY name LIMIT 256;

-- name: channels_forget
DELETE FROM channels WHERE name IN (
	SELECT name FROM channels WHERE name > ?1 ORDER BY name LIMIT ?3)
AND last_id < ?2;

-- name: channels_next
SELECT max(name) FROM (
	SELECT name FROM channels WHERE name > ?1 ORDER BY name LIMIT ?2);

-- name: bounds
-- A sequence beyond what an id can be is somebody's mistake: nothing was given
-- such an id, and retention must not count down from it.
SELECT max(coalesce((SELECT seq FROM sqlite_sequence
                     WHERE name = 'events' AND seq < 9007199254740992), 0),
           coalesce((SELECT max(id) FROM events), 0)),
       coalesce((SELECT min(id) FROM events), 0),
       coalesce((SELECT value FROM meta WHERE name = 'generation'), '');

-- name: sequence
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0);

-- name: witness
SELECT ts, channel, event, substr(data, 1, 256) FROM events WHERE id = ?1;

-- name: version
-- Logs that were made before it was written down are of version 1.
SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta
                 WHERE name = 'version'), 1);

-- name: missing
SELECT group_concat(column1, ', '), count(*) FROM (
	VALUES ('meta'), ('events'), ('channels'))
WHERE column1 NOT IN (SELECT name FROM sqlite_schema WHERE type = 'table');

-- name: missing_parts
SELECT group_concat(column1, ', ') FROM (
	VALUES ('events_key'), ('events_guard_insert'), ('events_link'),
	       ('events_guard_update'))
WHERE column1 NOT IN (SELECT name FROM sqlite_schema);

-- name: relink
-- What was inserted behind the back of a log that had gone back was linked to
-- events of before.
UPDATE events SET prev = p
FROM (SELECT id AS i, lag(id, 1, 0) OVER (PARTITION BY channel ORDER BY id)
      AS p FROM events WHERE ?1 > (SELECT max(id) - min(id) FROM events))
WHERE id = i AND prev IS NOT p AND (p > 0 OR prev >= id);

-- name: channels_drop
DELETE FROM channels;

-- name: channels_fill
INSERT INTO channels (name, last_id)
SELECT channel, max(id) FROM events GROUP BY channel;

-- name: renew
UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'generation';

-- name: page
SELECT id, channel, event, ts, prev, key, trace, json, data
FROM events WHERE id > ?1 ORDER BY id LIMIT ?2;

-- name: link
SELECT event, prev FROM events WHERE id = ?1;

-- name: newest
SELECT id, channel, event FROM events WHERE id <= ?2
ORDER BY id DESC LIMIT ?1;

-- name: cut_by_age
-- Of ?4 events from ?1 on: the id behind the last that is older than ?2, of
-- those before the first that is surely not.  A time after now (?3) proves
-- nothing.
SELECT coalesce(max(id) + 1, ?1) FROM events
WHERE id >= ?1 AND ts < ?2 AND id < coalesce(
	(SELECT id FROM events
	WHERE id >= ?1 AND id < ?1 + ?4 AND ts BETWEEN ?2 AND ?3
	ORDER BY id LIMIT 1), ?1 + ?4);

-- name: revoke
INSERT INTO revocations (kind, value, at_ms, until_ms, id)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (kind, value) DO UPDATE SET
	at_ms = max(at_ms, excluded.at_ms),
	until_ms = CASE WHEN until_ms = 0 OR excluded.until_ms = 0 THEN 0
	           ELSE max(until_ms, excluded.until_ms) END,
	id = excluded.id;

-- name: revocations_forget
DELETE FROM revocations WHERE (kind, value) IN (
	SELECT kind, value FROM revocations
	WHERE until_ms > 0 AND until_ms < ?1 LIMIT 100);

-- name: has_revocations
SELECT count(*) FROM sqlite_schema WHERE name = 'revocations';

-- name: revoked
SELECT at_ms FROM revocations WHERE kind = ?1 AND value = ?2;

-- name: revocations
SELECT kind, value, at_ms, until_ms, id FROM revocations
WHERE (kind, value) > (?1, ?2) ORDER BY kind, value LIMIT 256;

-- name: trim
DELETE FROM events WHERE id < ?1;
