"""Many photographs: which, in what order, and where their results go."""
