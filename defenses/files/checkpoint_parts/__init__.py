"""What a checkpoint has besides arrays: several files, several sets of weights, wrappers, and what a run left there."""
