-- The schema `eventflow` may exist already: an administrator made it then for the role that runs this.
CREATE SCHEMA IF NOT EXISTS eventflow;

CREATE TABLE eventflow.versions (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- One partition for each day in UTC. Deleting a day is one DROP TABLE, which leaves nothing for VACUUM to clean up.
-- There is no DEFAULT partition: with one, a new partition could be added only after a scan of it under a lock.
-- There is no primary key: the number in `writers` keeps rows distinct, so an index for this would only cost time.
CREATE TABLE eventflow.attempts (
    id uuid NOT NULL,
    flow text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    subject text,
    accepted_at timestamptz,
    started_at timestamptz NOT NULL,
    duration_us bigint NOT NULL,
    attempt integer NOT NULL,
    lane text NOT NULL,
    outcome text NOT NULL,
    settled boolean NOT NULL,
    reason text,
    detail text,
    text text,
    status integer,
    next_at timestamptz,
    answer bytea,
    answer_type text,
    answer_bytes bigint,
    trace_id text,
    writer text NOT NULL
) PARTITION BY RANGE (started_at);

CREATE INDEX attempts_by_event ON eventflow.attempts (event_id);
CREATE INDEX attempts_by_time ON eventflow.attempts USING brin (started_at);
CREATE INDEX attempts_by_flow ON eventflow.attempts (flow, started_at DESC, id DESC);
-- For a rare type in a range of time: without it, such a query would read all attempts of the flow in this range.
CREATE INDEX attempts_by_type ON eventflow.attempts (flow, type, started_at DESC, id DESC);

-- The rest are small, because failures are few. A usual attempt, with status 200, changes none of them. The conditions
-- are those of queries: `status = 503` implies `status <> 200`, and any comparison of a reason implies that it is not null.
CREATE INDEX attempts_by_reason ON eventflow.attempts (flow, reason, started_at DESC, id DESC)
    WHERE reason IS NOT NULL;
CREATE INDEX attempts_by_status ON eventflow.attempts (flow, status, started_at DESC, id DESC)
    WHERE status <> 200;
CREATE INDEX failures_by_flow ON eventflow.attempts (flow, started_at DESC, id DESC)
    WHERE (outcome <> 'delivered' OR NOT settled);
CREATE INDEX failures_by_outcome ON eventflow.attempts (flow, outcome, started_at DESC, id DESC)
    WHERE (outcome <> 'delivered' OR NOT settled);
CREATE INDEX failures_by_type ON eventflow.attempts (flow, type, started_at DESC, id DESC)
    WHERE (outcome <> 'delivered' OR NOT settled);

-- `minute` is a minute of Unix time. Every writer adds to the rows of the current minute twice a second, so half of each
-- page is left free: an update then stays in its page and changes no index.
CREATE TABLE eventflow.minutes (
    minute integer NOT NULL,
    flow text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    status integer NOT NULL,
    bucket smallint NOT NULL,
    attempts integer NOT NULL,
    duration_us bigint NOT NULL,
    PRIMARY KEY (flow, minute, outcome, reason, status, bucket)
) WITH (fillfactor = 50);
CREATE INDEX minutes_by_time ON eventflow.minutes (minute);

-- The same counts by hour, so that a chart of a week reads some thousand rows, and not some hundred thousand. `minute`
-- is the first one of the hour.
CREATE TABLE eventflow.hours (LIKE eventflow.minutes INCLUDING INDEXES) WITH (fillfactor = 50);

CREATE TABLE eventflow.flow_minutes (
    flow text NOT NULL,
    at timestamptz NOT NULL,
    accepted bigint,
    waiting bigint,
    dead bigint,
    oldest_s double precision,
    spooled bigint,
    PRIMARY KEY (flow, at)
);

CREATE TABLE eventflow.writers (
    name text PRIMARY KEY,
    batch bigint NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz
) WITH (fillfactor = 50);

CREATE TABLE eventflow.gaps (
    writer text NOT NULL,
    flow text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    attempts bigint NOT NULL,
    reason text NOT NULL
);
CREATE INDEX gaps_by_end ON eventflow.gaps (flow, until);

CREATE TABLE eventflow.actions (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    operator text NOT NULL,
    flow text NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX actions_by_time ON eventflow.actions (at DESC, id DESC);
CREATE INDEX actions_by_flow ON eventflow.actions (flow, at DESC, id DESC);

-- The two functions run with the rights of the owner. So a writer can add and drop the partitions of days, and needs no
-- right to create, alter or drop tables.

-- Add the partition of a day; return whether it was missing. CREATE TABLE ... PARTITION OF would lock the table against
-- every reader and writer; ATTACH PARTITION does not.
CREATE FUNCTION eventflow.add_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    partition_name text := 'attempts_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF day < '2000-01-01' OR day > (now() + interval '31 days')::date THEN
        RAISE EXCEPTION 'there is no partition for %, because it is not near the current time', day
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('eventflow.add_day'));
    -- A query, and not `to_regclass`, whose cache may not have the table that another writer has just made.
    PERFORM FROM pg_class WHERE relnamespace = 'eventflow'::regnamespace AND relname = partition_name;
    IF FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE eventflow.%I (LIKE eventflow.attempts)', partition_name);
    EXECUTE format(
        'ALTER TABLE eventflow.attempts ATTACH PARTITION eventflow.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name, day::timestamptz, (day + 1)::timestamptz
    );
    RETURN true;
END
$$;

-- Drop the oldest partition if its day is before `first_kept`; return whether there was one. It takes a short lock
-- against everyone else, for which the caller bounds its wait by `lock_timeout`.
CREATE FUNCTION eventflow.drop_day_before(first_kept date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partition_name text;
BEGIN
    SELECT relname INTO partition_name
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'eventflow.attempts'::regclass AND relname < 'attempts_' || to_char(first_kept, 'YYYYMMDD')
    ORDER BY relname LIMIT 1;
    IF partition_name IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE eventflow.%I', partition_name);
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION eventflow.add_day, eventflow.drop_day_before FROM PUBLIC;

INSERT INTO eventflow.versions (version, name) VALUES (1, '0001_history');
