"""Small faults put into a module one at a time, and which of them the nearest tests notice."""
