"""The page: everything the report knows in one HTML file that needs no network."""
