"""The parts of a running kernel: what decides, records, starts and supervises."""
