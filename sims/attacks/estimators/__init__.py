"""Zeroth-order gradient estimators and the laws of their directions."""
