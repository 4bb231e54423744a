"""Records become a table of runs, tables of results and figures; all of it can be deleted and rebuilt."""
