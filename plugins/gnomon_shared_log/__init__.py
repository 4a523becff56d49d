"""What the stores on a server share: who leads, the spool for outages, the writer, and orders through the server.

This is not a plugin: stores are built from it. It imports no driver but SQLite's, for the spool. Protocols state what
the code of a server has to do: `LeaseTable` (lease_row.py), `LogTable` (log_table.py), `Batch` and `BatchCodec`
(batch.py), `LateEndTable` (late_ends.py), `OrderTable` (order_table.py), `ChangeSource` (changes.py), and `ServerLog`
(server_log.py), which has them all.
"""
