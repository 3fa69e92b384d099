"""Training, whatever is trained: batches, steps, rounds that go on after a kill, adversaries, cost."""
