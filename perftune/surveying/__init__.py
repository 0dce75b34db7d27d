"""Surveying: a workload, built once and not trained, to what the search must know of it. Child side."""
