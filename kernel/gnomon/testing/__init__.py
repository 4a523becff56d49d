"""What plugin authors and job authors use in their own tests."""
