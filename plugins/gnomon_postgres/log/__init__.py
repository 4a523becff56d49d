"""The events of a log, the row of the leader, and what the server reports of both."""
