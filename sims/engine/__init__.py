"""The engine: attacks batched, counted, stopped, refilled and resumed."""
