"""A workload on fake tensors: built without weights, one training step traced under the rules of CUDA. Child side."""
