"""One photograph: how networks see it, what runs them, and what they say of it."""
