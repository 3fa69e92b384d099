"""Cells: the unit of records, what they read, and what state they are in."""
