"""What users bring: models and defences in files of their own."""
