"""Statements about randomised purification under query attacks: bounds, moments, derivations."""
