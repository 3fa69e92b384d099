"""Pools of purifiers, and the defences that draw from one or average over it."""
