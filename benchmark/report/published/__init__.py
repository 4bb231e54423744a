"""Numbers and claims of others, and verdicts on them by the records."""
