"""Training of classifiers on real images: recipes, augmentation, adversaries, resumable epochs, cost."""
