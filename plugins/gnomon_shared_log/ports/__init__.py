"""What the code of a server implements for the shared part of a store."""
