"""Purifiers and families of purifiers, one per file."""
