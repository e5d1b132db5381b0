"""The schema of every table, one file per area."""
