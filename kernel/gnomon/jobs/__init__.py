"""What a job is: its definition, its function, and how both are checked."""
