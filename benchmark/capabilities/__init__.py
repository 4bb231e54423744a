"""Where each method runs, found out by attaching it."""
