"""Views: on their way to their tables, folded for readers until then, and repaired."""
