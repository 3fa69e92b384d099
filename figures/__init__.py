"""Figures: pictures and tables drawn from the records of the simulations (`python -m figures`)."""
