-- Every entry that exists is published already, so that the release still running need not know of drafts.
ALTER TABLE entries ADD COLUMN draft INTEGER NOT NULL DEFAULT 0;

-- What the job `tidy` counted, a row per run.
CREATE TABLE summaries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    arrivals   INTEGER NOT NULL,
    departures INTEGER NOT NULL,
    notes      INTEGER NOT NULL,
    files      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    swept      INTEGER NOT NULL
);
