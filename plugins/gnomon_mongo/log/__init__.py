"""The events of a log, the row of the leader, orders, and what the server reports of them."""
