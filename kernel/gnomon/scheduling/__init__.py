"""When a job fires: triggers, cron, time zones, and what happens to late fires."""
