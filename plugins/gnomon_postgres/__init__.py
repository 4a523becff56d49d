"""The PostgreSQL store: the log in a schema of a database, and a spool on disk for outages.

Requires the extra `postgres`.
"""
