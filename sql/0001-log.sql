-- The log, version 1.
--
-- Ids are given out by AUTOINCREMENT alone: strictly increasing in commit
-- order, never reused (not after a delete of everything, not after VACUUM),
-- and dense, because nothing below lets an insert fail after its id is taken.
-- `data` stands last: a scan that skips it never reads its overflow pages.

CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A log that is made anew starts again at 1.  The generation tells it from
-- the one that was there before.
INSERT INTO meta (name, value)
VALUES ('generation', lower(hex(randomblob(16))));

CREATE TABLE events (
	-- -1 is how the guard below sees an id that is not given
	id      INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
	-- Unix time in milliseconds
	ts      INTEGER NOT NULL DEFAULT (
	            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
	channel TEXT NOT NULL CHECK (
	            length(channel) BETWEEN 1 AND 128
	            AND channel NOT GLOB '*[^A-Za-z0-9_.:/-]*'
	            AND instr(channel, char(0)) = 0
	            AND channel NOT GLOB 'system.*'
	            AND channel NOT GLOB 'control.*'),
	event   TEXT NOT NULL DEFAULT 'message' CHECK (
	            event = 'message'
	            OR (length(CAST(event AS BLOB)) BETWEEN 1 AND 128
	                AND event NOT GLOB
	                    ('*[' || char(1) || '-' || char(31)
	                          || char(127) || ']*')
	                AND instr(event, char(0)) = 0
	                AND event NOT GLOB 'system.*'
	                AND event NOT GLOB 'control.*')),
	-- idempotency key: once on its channel, for as long as it is retained
	key     TEXT CHECK (
	            key IS NULL OR length(CAST(key AS BLOB)) BETWEEN 1 AND 128),
	trace   TEXT CHECK (trace IS NULL OR length(trace) = 55),
	-- the id before this one on the same channel, 0 when none is retained;
	-- pubd gives it, for everybody else the trigger below fills it in
	prev    INTEGER,
	-- 1: data is a JSON value; 0: a string; NULL: nobody said
	json    INTEGER CHECK (json IN (0, 1)),
	data    TEXT NOT NULL CHECK (
	            length(CAST(data AS BLOB)) <= 4194304)
) STRICT;

-- Costs nothing for rows without a key.
CREATE UNIQUE INDEX events_key ON events (channel, key)
WHERE key IS NOT NULL;

-- The newest id of each channel.
CREATE TABLE channels (
	name    TEXT PRIMARY KEY,
	last_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- In a BEFORE trigger NEW.id is -1 when the id is left to AUTOINCREMENT.
-- All that can be refused is refused here, before an id is drawn: OR IGNORE
-- and ON CONFLICT would skip the row and leave a hole in the ids.  The WHEN
-- lets the plain rows pass without running the body.
CREATE TRIGGER events_guard_insert BEFORE INSERT ON events
WHEN NEW.id <> -1 OR NEW.prev IS NOT NULL OR NEW.key IS NOT NULL
  OR NEW.channel IS NULL OR NEW.event IS NULL OR NEW.data IS NULL
  OR NEW.ts IS NULL OR NEW.json IS NOT NULL OR NEW.trace IS NOT NULL
  OR NEW.event <> 'message' OR length(CAST(NEW.data AS BLOB)) > 4194304
  OR NOT length(NEW.channel) BETWEEN 1 AND 128
  OR NEW.channel GLOB '*[^A-Za-z0-9_.:/-]*'
  OR instr(NEW.channel, char(0)) > 0
  OR NEW.channel GLOB 'system.*' OR NEW.channel GLOB 'control.*'
BEGIN
	SELECT RAISE(ABORT, 'walcast: events.id is given by the log; leave it out')
	WHERE NEW.id <> -1;
	SELECT RAISE(ABORT,
	    'walcast: events.prev and events.json are given by the log; leave them out')
	WHERE NEW.prev IS NOT NULL OR NEW.json IS NOT NULL;
	SELECT RAISE(ABORT, 'walcast: this key was used on this channel before')
	FROM events WHERE channel = NEW.channel AND key = NEW.key;
	SELECT RAISE(ABORT, 'walcast: not a channel, see walcast-protocol(7)')
	WHERE NEW.channel IS NULL
	   OR NOT length(NEW.channel) BETWEEN 1 AND 128
	   OR NEW.channel GLOB '*[^A-Za-z0-9_.:/-]*'
	   OR instr(NEW.channel, char(0)) > 0
	   OR NEW.channel GLOB 'system.*' OR NEW.channel GLOB 'control.*';
	SELECT RAISE(ABORT, 'walcast: not an event name, see walcast-protocol(7)')
	WHERE NEW.event IS NULL
	   OR NOT length(CAST(NEW.event AS BLOB)) BETWEEN 1 AND 128
	   OR NEW.event GLOB ('*[' || char(1) || '-' || char(31) || char(127) || ']*')
	   OR instr(NEW.event, char(0)) > 0
	   OR NEW.event GLOB 'system.*' OR NEW.event GLOB 'control.*';
	SELECT RAISE(ABORT, 'walcast: bad ts, key, trace or data')
	WHERE NEW.data IS NULL OR length(CAST(NEW.data AS BLOB)) > 4194304
	   OR NOT length(CAST(NEW.key AS BLOB)) BETWEEN 1 AND 128
	   OR length(NEW.trace) <> 55
	   OR NEW.ts IS NULL;
END;

CREATE TRIGGER events_link AFTER INSERT ON events
WHEN NEW.prev IS NULL
BEGIN
	UPDATE events SET prev = coalesce(
	    (SELECT last_id FROM channels WHERE name = NEW.channel), 0)
	WHERE id = NEW.id;
	INSERT INTO channels (name, last_id) VALUES (NEW.channel, NEW.id)
	ON CONFLICT (name) DO UPDATE SET last_id = excluded.last_id;
END;

-- What was said stays said; only the link of the trigger above may be set.
CREATE TRIGGER events_guard_update BEFORE UPDATE ON events
WHEN OLD.prev IS NOT NULL
BEGIN
	SELECT RAISE(ABORT, 'walcast: an event cannot be changed; publish another');
END;
