"""Launchers: a request for a process to one that runs, one way a file. Parent side, no torch."""
