-- The tables of the shop. Event Flow has tables of its own, in the schema `eventflow`, which is the first one for a user of this name.
SET search_path = public;

CREATE TABLE stock (
    article text PRIMARY KEY,
    pieces integer NOT NULL CHECK (pieces >= 0)
);

-- A reference is not unique here, so that a test can see an order that is booked twice.
CREATE TABLE orders (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference text NOT NULL,
    article text NOT NULL REFERENCES stock,
    pieces integer NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO stock (article, pieces) VALUES ('lamp', 100000), ('chair', 100000), ('table', 10);
