"""Costs of a run before it: sizes, memory, work and time, on networks without weights."""
