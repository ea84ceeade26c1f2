"""The command line of all scripts."""
