"""Table of the architectures on which each method runs, found by attaching it."""
