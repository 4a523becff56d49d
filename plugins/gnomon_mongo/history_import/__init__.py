"""The import of the history of an older scheduler."""
