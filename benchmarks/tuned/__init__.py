"""Tuned arguments against stock ones and against what batch size finders end with."""
