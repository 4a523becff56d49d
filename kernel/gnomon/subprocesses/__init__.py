"""Child processes that do not outlive the process that started them, not even if it is killed."""
