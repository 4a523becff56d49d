"""What can be proved or explained from a log: audit, explain, plan."""
