"""Writes: to the server, or to the spool while the server is down."""
