"""Frozen records that pass between the parts and lie on disk."""
