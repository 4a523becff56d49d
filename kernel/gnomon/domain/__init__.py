"""Events, and the pure folds over them; no I/O."""
