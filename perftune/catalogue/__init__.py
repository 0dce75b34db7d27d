"""GPUs that need not be here: their data sheets by name, and what an hour on each costs."""

from perftune.catalogue.gpus import ALL, find_gpus, gpu_of, load_catalogue, load_prices

__all__ = ["ALL", "find_gpus", "gpu_of", "load_catalogue", "load_prices"]
