"""The figures of a model on a split, and of parts of it."""
