"""Query attacks that see the predicted class only."""
