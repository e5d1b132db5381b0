"""The command line: one file per command. Commands parse, call and print; no work is done here."""
