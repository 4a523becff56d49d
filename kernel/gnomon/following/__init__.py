"""A kernel that follows another one: it answers questions from the log and passes orders on."""
