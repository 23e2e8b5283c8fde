-- Uploads. The content lies in a file that is named by its digest; equal files are kept once.
CREATE TABLE files (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id INTEGER UNIQUE REFERENCES entries (id) ON DELETE SET NULL,
    name     TEXT    NOT NULL,
    media    TEXT    NOT NULL,
    digest   TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    at       INTEGER NOT NULL
);

CREATE INDEX files_digest ON files (digest);
