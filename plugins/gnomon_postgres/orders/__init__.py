"""Orders from other processes, and from the transactions of applications."""
