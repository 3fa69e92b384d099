"""Weights of networks: trained here and cached, or published, found, checked and converted."""
