"""Defences that change the scores a model gives and leave its images and its decisions alone."""
