"""Runs one task of a Metaflow flow as its request file says. Only Python's own library is imported from here."""
