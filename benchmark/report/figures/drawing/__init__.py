"""What the figures share: style, names of marks, cache."""
