-- The schema `eventflow` may exist already: the history, or an administrator, has made it.
CREATE SCHEMA IF NOT EXISTS eventflow;

CREATE TABLE eventflow.database_versions (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The events that have taken effect in this database. Ids are unique within their source only, and each flow has its own
-- handler. A processor writes a hash in place of a source that is too long for an index.
CREATE TABLE eventflow.inbox (
    flow text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (flow, source, id)
);

CREATE INDEX inbox_by_time ON eventflow.inbox (flow, handled_at);

-- The events to publish. Any program may insert a row, within the transaction of its own changes: flow, type and body are
-- enough. `eventflow-relay` publishes each committed row, and deletes it after the confirm of the broker. A row that can
-- not be published for a reason of its own is parked: it stays, with the reason, and is no longer tried. The columns from
-- `created_at` on belong to the relay.
CREATE TABLE eventflow.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow text NOT NULL CHECK (flow ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    id text NOT NULL DEFAULT gen_random_uuid()::text CHECK (octet_length(id) BETWEEN 1 AND 255),
    source text NOT NULL DEFAULT 'outbox' CHECK (octet_length(source) BETWEEN 1 AND 4096),
    type text NOT NULL CHECK (octet_length(type) BETWEEN 1 AND 255),
    -- In the years that every program can read.
    time timestamptz NOT NULL DEFAULT now() CHECK (time >= '0001-01-02Z' AND time < '9999-12-31Z'),
    subject text CHECK (octet_length(subject) BETWEEN 1 AND 4096),
    dataschema text CHECK (octet_length(dataschema) BETWEEN 1 AND 4096),
    extensions jsonb CHECK (jsonb_typeof(extensions) = 'object'),
    content_type text CHECK (octet_length(content_type) BETWEEN 1 AND 255),
    body bytea NOT NULL CHECK (octet_length(body) <= 134217728),
    traceparent text CHECK (octet_length(traceparent) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT now() CHECK (created_at >= '0001-01-02Z' AND created_at < '9999-12-31Z'),
    tries integer NOT NULL DEFAULT 0,
    error text,
    retry_at timestamptz,
    parked_at timestamptz
);

CREATE INDEX outbox_waiting ON eventflow.outbox (number) WHERE parked_at IS NULL;
CREATE INDEX outbox_parked ON eventflow.outbox (number) WHERE parked_at IS NOT NULL;

INSERT INTO eventflow.database_versions (version, name) VALUES (1, '0001_inbox_and_outbox');
