"""What is in a task's data, and what stands on both sides of its splits."""
