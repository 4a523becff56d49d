"""Reads of the database: single records, lists and counts."""
