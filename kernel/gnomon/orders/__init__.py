"""Orders from any process to the kernel that leads: how calls are written, carried out and answered."""
