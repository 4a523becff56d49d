"""Triggers, cron expressions, time zones, and the decision about late fires."""
