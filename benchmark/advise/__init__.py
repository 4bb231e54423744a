"""Which method for me: the evidence of the records, in words."""
