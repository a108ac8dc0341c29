-- The log, version 2: channels can hold the names of users, and revocations
-- are kept.
--
-- Only the rule for new rows becomes another one; what is stored stays as it
-- is.  So no row is copied: the text of the table's definition is changed, as
-- SQLite's manual describes it for such rules (ALTER TABLE, section 7), in the
-- transaction of this migration.  What is created below makes every connection
-- read the definition again.

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(replace(sql,
    'channel NOT GLOB ''*[^A-Za-z0-9_.:/-]*''',
    'channel NOT GLOB ''*[^A-Za-z0-9_.:/@%~+=-]*'''),
    'AND channel NOT GLOB ''system.*''',
    'AND (channel = ''system.revoke'' OR channel NOT GLOB ''system.*'')')
WHERE type = 'table' AND name = 'events';

PRAGMA writable_schema = OFF;

-- A definition that another program has changed is left alone: this fails.
INSERT INTO meta (name, value) SELECT 'version', NULL
WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema
    WHERE type = 'table' AND name = 'events'
      AND instr(sql, '''*[^A-Za-z0-9_.:/@%~+=-]*''') > 0
      AND instr(sql, 'channel = ''system.revoke''') > 0);

-- What counts no more, for as long as the log exists: a revocation is an event
-- of the log, too, which retention takes away.
CREATE TABLE IF NOT EXISTS revocations (
	-- user, token (its jti) or stream
	kind     TEXT NOT NULL,
	value    TEXT NOT NULL,
	-- what was given before counts no more; Unix time in milliseconds
	at_ms    INTEGER NOT NULL,
	-- may be forgotten then; 0: never
	until_ms INTEGER NOT NULL,
	-- the event
	id       INTEGER NOT NULL,
	PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS revocations_until ON revocations (until_ms)
WHERE until_ms > 0;

-- Revocations are pubd's to write: for all others the guard refuses system.*.
DROP TRIGGER IF EXISTS events_guard_insert;

CREATE TRIGGER events_guard_insert BEFORE INSERT ON events
WHEN NEW.id <> -1 OR NEW.prev IS NOT NULL OR NEW.key IS NOT NULL
  OR NEW.channel IS NULL OR NEW.event IS NULL OR NEW.data IS NULL
  OR NEW.ts IS NULL OR NEW.json IS NOT NULL OR NEW.trace IS NOT NULL
  OR NEW.event <> 'message' OR length(CAST(NEW.data AS BLOB)) > 4194304
  OR NOT length(NEW.channel) BETWEEN 1 AND 128
  OR NEW.channel GLOB '*[^A-Za-z0-9_.:/@%~+=-]*'
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
	   OR NEW.channel GLOB '*[^A-Za-z0-9_.:/@%~+=-]*'
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
