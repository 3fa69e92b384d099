"""Training of networks: recipes, augmentation, adversaries, resumable epochs, cost."""
