"""Transforms of the image, fixed or random, that nothing was trained for."""
