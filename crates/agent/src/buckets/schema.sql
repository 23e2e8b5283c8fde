-- Every version of every object, and the marks of deleted ones. Keys are bytes, so that they sort as S3 lists them.
CREATE TABLE IF NOT EXISTS object (
    place    INTEGER PRIMARY KEY AUTOINCREMENT,
    key      BLOB NOT NULL,
    id       TEXT NOT NULL UNIQUE,
    is_null  INTEGER NOT NULL,
    latest   INTEGER NOT NULL,
    marker   INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    etag     TEXT NOT NULL,
    modified INTEGER NOT NULL,
    since    INTEGER NOT NULL,              -- when it was made, or stopped being the latest
    file     TEXT NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0,    -- 1: compressed; 2: that was tried and saves nothing
    meta     TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS object_current ON object (key) WHERE latest = 1;
CREATE INDEX IF NOT EXISTS object_versions ON object (key, place DESC);
CREATE INDEX IF NOT EXISTS object_age ON object (since);
CREATE INDEX IF NOT EXISTS object_plain ON object (modified) WHERE archived = 0 AND marker = 0;

-- Uploads in parts that are not complete.
CREATE TABLE IF NOT EXISTS upload (
    id       TEXT PRIMARY KEY,
    key      BLOB NOT NULL,
    begun    INTEGER NOT NULL,
    meta     TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS upload_key ON upload (key, id);
CREATE TABLE IF NOT EXISTS part (
    upload   TEXT NOT NULL,
    number   INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    etag     TEXT NOT NULL,
    modified INTEGER NOT NULL,
    file     TEXT NOT NULL,
    sums     TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
-- What became of complete ones: a client that missed the answer asks again.
CREATE TABLE IF NOT EXISTS completed (
    upload   TEXT PRIMARY KEY,
    object   TEXT NOT NULL,
    at       INTEGER NOT NULL
);

-- Files that nothing names any more, and events that are not handed on yet: entered with the change that makes them.
CREATE TABLE IF NOT EXISTS garbage (file TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS event (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    body     TEXT NOT NULL
);

-- How much there is, kept by the triggers below so that nobody counts a million rows.
CREATE TABLE IF NOT EXISTS total (one INTEGER PRIMARY KEY CHECK (one = 1), objects INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0, 0);
CREATE TRIGGER IF NOT EXISTS object_added AFTER INSERT ON object WHEN NEW.marker = 0
BEGIN UPDATE total SET objects = objects + 1, bytes = bytes + NEW.size; END;
CREATE TRIGGER IF NOT EXISTS object_removed AFTER DELETE ON object WHEN OLD.marker = 0
BEGIN UPDATE total SET objects = objects - 1, bytes = bytes - OLD.size; END;
