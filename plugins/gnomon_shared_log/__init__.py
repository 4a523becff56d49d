"""What the stores on a server share: who leads, the spool for outages, the writer, and orders through the server.

This is not a plugin: stores are built from it. It imports no driver but SQLite's, for the spool. The Protocols in
`ports` state what the code of a server has to do; `ServerLog` (ports/server_log.py) has them all.
"""
