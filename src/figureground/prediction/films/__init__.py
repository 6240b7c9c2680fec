"""Films: read, predicted and written by a thread each."""
