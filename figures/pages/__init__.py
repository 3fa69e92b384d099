"""Pages of text and tables drawn from records."""
