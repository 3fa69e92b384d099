"""Local implicit purifiers: PuriDefense (arXiv 2401.10586), after DISCO and LIIF."""
