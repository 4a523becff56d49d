"""How plugins are found, checked, called and delivered events."""
