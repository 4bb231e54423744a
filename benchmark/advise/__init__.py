"""Advice on methods from the records."""
