"""Who leads: terms, the clock that they are counted on, and how they end."""
