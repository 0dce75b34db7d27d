"""Isolated trials: `runner` is the parent side, without torch; everything else but `protocol` runs in a child."""
