"""Notifications about alerts: which channel hears of which alert, when, in which words, and how it gets there."""
