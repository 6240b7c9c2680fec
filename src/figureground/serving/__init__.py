"""Masks over HTTP: an application whose every resource has a bound, and what runs it."""
