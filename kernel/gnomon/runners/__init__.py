"""How bodies run: as a task on the kernel's loop, in a thread, or in a child process."""
