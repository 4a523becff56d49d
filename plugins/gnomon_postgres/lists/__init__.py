"""Reads of views: single records, lists, counts and statistics."""
