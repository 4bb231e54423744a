"""Audit of a task's data: sizes, classes, and examples that splits share."""
