"""What stores share, and the store in memory."""
