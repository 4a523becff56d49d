"""The tables of a log in PostgreSQL: how they are made, migrated and partitioned, and the columns of their rows."""
