"""Measuring: a trial's request to what was observed while the user's Trainer trained. Child side."""
