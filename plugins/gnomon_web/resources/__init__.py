"""The REST calls: jobs, executions, operator actions, statistics, health, metrics and login sessions."""
