"""Defences, the classifiers they protect, the data both are measured on, and how they are trained."""
