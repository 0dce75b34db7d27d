"""Simulated studies on a busy machine to how often intervals cover, and how often an answer is wrong."""
