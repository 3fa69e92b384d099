"""Classifiers: pure functions of (params, images), one architecture per file."""
