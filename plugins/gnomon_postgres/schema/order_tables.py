"""The tables of orders, and the processes that follow while no kernel leads.

`orders` has those whose senders wait for an answer (order_table.py), `transactional_orders` those that were placed in
the transactions of applications (transactional_orders.py). A new row of either is announced on the channel `gnomon`;
the server delivers the notice when the transaction commits.
"""

from __future__ import annotations

CHANNEL = "gnomon"
"""The channel of all logs of a database: the payload is a word and the name of the schema."""
PLACED = "placed"

STATEMENTS = (
    """CREATE TABLE {schema}.orders (
        id text COLLATE "C" PRIMARY KEY,
        number bigint GENERATED ALWAYS AS IDENTITY,
        call text NOT NULL,
        arguments bytea NOT NULL,
        waits boolean NOT NULL,
        limit_s double precision NOT NULL,
        placed timestamptz NOT NULL DEFAULT clock_timestamp(),
        kept timestamptz NOT NULL DEFAULT clock_timestamp(),
        is_waiting boolean NOT NULL DEFAULT true,
        owner text,
        mark text,
        claimed timestamptz,
        answer bytea,
        is_abandoned boolean NOT NULL DEFAULT false,
        is_withdrawn boolean NOT NULL DEFAULT false,
        is_expired boolean NOT NULL DEFAULT false
    )""",
    "CREATE INDEX orders_waiting ON {schema}.orders (number) WHERE is_waiting",
    """CREATE TABLE {schema}.followers (
        id text COLLATE "C" PRIMARY KEY,
        body bytea NOT NULL,
        seen timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    # The checks refuse in the transaction of the application what no kernel could carry out. `json` keeps the text of
    # the arguments, `jsonb` would refuse some.
    """CREATE TABLE {schema}.transactional_orders (
        id text COLLATE "C" PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
        number bigint GENERATED ALWAYS AS IDENTITY,
        call text NOT NULL CHECK (call IN ('trigger', 'order_job', 'cancel')),
        job_id text COLLATE "C" CHECK (job_id IS NOT NULL OR call = 'cancel'),
        arguments json NOT NULL DEFAULT '{}' CHECK (json_typeof(arguments) = 'object'),
        expires timestamptz,
        placed timestamptz NOT NULL DEFAULT clock_timestamp(),
        placed_by text NOT NULL DEFAULT session_user,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'refused', 'expired')),
        answered timestamptz,
        execution_id text,
        error text,
        problem text
    )""",
    "CREATE INDEX transactional_orders_pending ON {schema}.transactional_orders (number) WHERE state = 'pending'",
    "CREATE INDEX transactional_orders_answered ON {schema}.transactional_orders (answered) WHERE state <> 'pending'",
    f"""CREATE FUNCTION {{schema}}.announce_order() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('{CHANNEL}', '{PLACED} ' || TG_TABLE_SCHEMA);
            RETURN NULL;
        END
    $$""",
    """CREATE TRIGGER announce AFTER INSERT ON {schema}.orders
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.announce_order()""",
    """CREATE TRIGGER announce AFTER INSERT ON {schema}.transactional_orders
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.announce_order()""",
)
