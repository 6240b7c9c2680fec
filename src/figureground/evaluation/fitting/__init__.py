"""What is fitted to the split valid behind a training."""
