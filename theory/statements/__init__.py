"""The statements, one file per section of the theory: their formulas, assumptions and derivations."""
