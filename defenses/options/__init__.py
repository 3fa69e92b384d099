"""What users type: names with settings, and the ranges of numbers."""
