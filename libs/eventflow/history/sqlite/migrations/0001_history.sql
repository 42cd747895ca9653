-- Times are microseconds of Unix time; minutes are minutes of Unix time.

CREATE TABLE attempts (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    flow TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT,
    accepted_at INTEGER,
    started_at INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    lane TEXT NOT NULL,
    outcome TEXT NOT NULL,
    settled INTEGER NOT NULL,
    reason TEXT,
    detail TEXT,
    text TEXT,
    status INTEGER,
    next_at INTEGER,
    answer BLOB,
    answer_type TEXT,
    answer_bytes INTEGER,
    trace_id TEXT,
    writer TEXT NOT NULL
);

-- Many senders use random ids. An index of these alone would change one page for each new row, anywhere in the file.
-- In pieces of 8192 rows, new rows change only the pages of the last piece. A search looks into each piece.
CREATE INDEX attempts_by_event ON attempts (n >> 13, event_id);

-- All columns of the filters are in both, so that a search reads a row of the table only for an attempt that it returns.
CREATE INDEX attempts_by_time ON attempts (flow, started_at, id, outcome, reason, status, type);
CREATE INDEX failures_by_time ON attempts (flow, started_at, id, outcome, settled, reason, status, type)
    WHERE (outcome <> 'delivered' OR NOT settled);

CREATE TABLE minutes (
    minute INTEGER NOT NULL,
    flow TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    PRIMARY KEY (flow, minute, outcome, reason, status, bucket)
) WITHOUT ROWID;

-- The same counts by hour; `minute` is the first of the hour. A week is added up from a few thousand of these rows.
CREATE TABLE hours (
    minute INTEGER NOT NULL,
    flow TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    PRIMARY KEY (flow, minute, outcome, reason, status, bucket)
) WITHOUT ROWID;

CREATE TABLE flow_minutes (
    flow TEXT NOT NULL,
    at INTEGER NOT NULL,
    accepted INTEGER,
    waiting INTEGER,
    dead INTEGER,
    oldest_s REAL,
    spooled INTEGER,
    PRIMARY KEY (flow, at)
) WITHOUT ROWID;

CREATE TABLE writers (
    name TEXT PRIMARY KEY,
    batch INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended_at INTEGER
) WITHOUT ROWID;

CREATE TABLE gaps (
    writer TEXT NOT NULL,
    flow TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL
);

CREATE INDEX gaps_by_end ON gaps (flow, until);

CREATE TABLE actions (
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    operator TEXT NOT NULL,
    flow TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX actions_by_time ON actions (at, id);
CREATE INDEX actions_by_flow ON actions (flow, at, id);
