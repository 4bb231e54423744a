"""What scores say: samples over seeds and test examples, intervals, tests, ranks."""
