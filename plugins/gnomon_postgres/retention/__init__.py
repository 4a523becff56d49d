"""Deletion of what is older than a log keeps: whole partitions, and single runs."""
