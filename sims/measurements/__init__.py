"""What is measured of a victim: V, diversity, gradients and their moments, fresh draws, slow-downs."""
