"""The log as it was at a moment: an index of it, and a store that answers from then."""
