"""Recorded landscapes, and how the searches do on them."""
