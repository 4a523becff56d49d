"""The database file as a whole: who may write to it, whether it is whole, and whether it went back."""
