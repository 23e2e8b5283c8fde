-- One line of the harbour log. Times are milliseconds since 1970, UTC.
CREATE TABLE entries (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT    NOT NULL CHECK (kind IN ('arrival', 'departure', 'note')),
    vessel TEXT    NOT NULL,
    port   TEXT    NOT NULL,
    note   TEXT    NOT NULL,
    at     INTEGER NOT NULL
);
