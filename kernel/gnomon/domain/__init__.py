"""The facts and what is folded from them: pure, no I/O."""
