"""The tables of orders, and the processes that follow while no kernel leads.

`orders` has those whose senders wait for an answer (order_table.py), `transactional_orders` those that were placed in
the transactions of applications (transactional_orders.py). A new row of either is announced on the channel `gnomon`;
the server delivers the notice when the transaction commits.
"""

from __future__ import annotations

CHANNEL = "gnomon"
"""The channel of all logs of a database: the payload is a word and the name of the schema."""
PLACED, IN_TRANSACTION = "placed", "transaction"
"""The word for an order, and what follows it, after a colon, for an order of a transaction."""
LONGEST_JOB_ID = 128
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of the arguments of an order. The kernel accepts as many as its `arguments_limit`, 256 KiB by default."""
WRITTEN_BY_FOLLOWERS = frozenset({"orders", "followers"})

LOOKS = "INSERT INTO {schema}.order_looks DEFAULT VALUES"
"""What makes the row of `order_looks`."""
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
    rf"""CREATE TABLE {{schema}}.transactional_orders (
        id text COLLATE "C" PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', '')
            CHECK (char_length(id) BETWEEN 1 AND 255 AND id !~ '[\x01-\x1f\x7f]'),
        number bigint GENERATED ALWAYS AS IDENTITY,
        call text NOT NULL CHECK (call IN ('trigger', 'order_job', 'cancel')),
        job_id text COLLATE "C" CHECK (char_length(job_id) BETWEEN 1 AND {LONGEST_JOB_ID}),
        arguments json NOT NULL DEFAULT '{{}}' CHECK (json_typeof(arguments) = 'object'),
        bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(CAST(arguments AS text))) STORED
            CHECK (bytes <= {MOST_BYTES}),
        expires timestamptz,
        placed timestamptz NOT NULL DEFAULT clock_timestamp(),
        placed_by text NOT NULL DEFAULT session_user,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'refused', 'expired')),
        answered timestamptz,
        execution_id text,
        error text,
        problem text,
        CHECK (job_id IS NOT NULL OR call = 'cancel')
    )""",
    "CREATE INDEX transactional_orders_pending ON {schema}.transactional_orders (number) WHERE state = 'pending'",
    """CREATE INDEX transactional_orders_of_job ON {schema}.transactional_orders (job_id, number)
        WHERE state = 'pending'""",
    "CREATE INDEX transactional_orders_answered ON {schema}.transactional_orders (answered) WHERE state <> 'pending'",
    # Until `looks_until` the kernel that leads looks for orders by itself, and needs no notices (orders/look_pace.py).
    """CREATE TABLE {schema}.order_looks (
        is_row boolean PRIMARY KEY DEFAULT true CHECK (is_row),
        looks_until timestamptz NOT NULL DEFAULT '-infinity'
    ) WITH (fillfactor = 20)""",
    LOOKS,
    # ALWAYS: also in a session with `session_replication_role = replica`.
    f"""CREATE FUNCTION {{schema}}.announce_order() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $announce_order$
        BEGIN
            PERFORM pg_notify('{CHANNEL}', '{PLACED} ' || TG_TABLE_SCHEMA);
            RETURN NULL;
        END
    $announce_order$""",
    """CREATE TRIGGER announce AFTER INSERT ON {schema}.orders
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.announce_order();
    ALTER TABLE {schema}.orders ENABLE ALWAYS TRIGGER announce""",
    # At the end of the transaction, which may be hours after the order. The applications' roles may not read the table,
    # and the schema has the name that it has by then.
    f"""CREATE FUNCTION {{schema}}.announce_transactional_order() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $announce_order$
        BEGIN
            PERFORM set_config('search_path', 'pg_catalog, ' || quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);
            IF current_setting('gnomon.notices', true) IS DISTINCT FROM 'off' AND NOT EXISTS (
                SELECT FROM order_looks WHERE looks_until > clock_timestamp() + interval '0.1 s'
            ) THEN
                PERFORM pg_notify('{CHANNEL}', '{PLACED}:{IN_TRANSACTION} ' || TG_TABLE_SCHEMA);
            END IF;
            RETURN NULL;
        END
    $announce_order$""",
    """CREATE CONSTRAINT TRIGGER announce AFTER INSERT ON {schema}.transactional_orders DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION {schema}.announce_transactional_order();
    ALTER TABLE {schema}.transactional_orders ENABLE ALWAYS TRIGGER announce""",
)
