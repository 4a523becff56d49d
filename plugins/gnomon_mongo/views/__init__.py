"""Views: folded from events, and read in processes that follow."""
