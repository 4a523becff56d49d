"""How one execution runs: as a task on the loop, in a thread, in a process."""
