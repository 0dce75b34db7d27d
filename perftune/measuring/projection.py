"""Gradients of one part of a model, of any size, to a few numbers whose differences are theirs. Child side.

A count sketch (Charikar, Chen, Farach-Colton 2002; for inner products Thorup, Zhang 2004): every entry is added, with
a random sign, to a random one of a few sums. Signs and places depend on the parameter's name and on nothing else, so
they are the same in every process, and the sketch of a difference is the difference of the sketches.
"""

import zlib

import torch

TILE = 2**16
"""Entries that are taken at a time. Each tile is turned by an offset and given a sign of its own."""
NUM_SUMS = 32
"""Of a sketch; its length is that of the gradient to 1 / √(2 · 32) = 12.5 % (one standard deviation)."""


class Projection:
    """Takes in the gradients of one part of the model, in one pass and without a copy of them."""

    def __init__(self, device: torch.device) -> None:
        """
        Args:
            device: where the sums are kept, and where most of the gradients are.
        """
        generator = torch.Generator().manual_seed(0)
        self._signs = _signs(TILE, generator).to(device)
        self._tile = torch.zeros(TILE, device=device)
        self._norms = [torch.zeros((), device=device)]
        self.num_parameters = 0

    def add(self, name: str, gradient: torch.Tensor) -> None:
        """Take in the gradient of one parameter.

        Args:
            name: of the parameter; another name has other signs and places.
            gradient: of any floating type. A sparse one is made dense for the while.
        """
        dense = gradient.to_dense() if gradient.layout is not torch.strided else gradient
        pieces = torch.split(dense.detach().reshape(-1), TILE)
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        offsets = torch.randint(TILE, (len(pieces),), generator=generator).tolist()
        signs = _signs(len(pieces), generator).tolist()
        for piece, offset, sign in zip(pieces, offsets, signs, strict=True):
            here = piece.to(self._tile)
            self._norms.append(torch.linalg.vector_norm(here))
            before = min(len(here), TILE - offset)
            self._add(here[:before], 0, offset, sign)
            self._add(here[before:], before, 0, sign)

    def _add(self, piece: torch.Tensor, start: int, offset: int, sign: float) -> None:
        end = start + len(piece)
        self._tile[offset : offset + len(piece)].addcmul_(piece, self._signs[start:end], value=sign)

    def norm(self) -> float:
        """L2 of all that was taken in."""
        return float(torch.linalg.vector_norm(torch.stack(self._norms)))

    def sums(self) -> list[float]:
        """The sketch."""
        generator = torch.Generator().manual_seed(1)
        signs, places = _signs(TILE, generator), torch.randint(NUM_SUMS, (TILE,), generator=generator)
        found: list[float] = torch.zeros(NUM_SUMS).index_add_(0, places, self._tile.cpu() * signs).tolist()
        return found


def _signs(count: int, generator: torch.Generator) -> torch.Tensor:
    """Random +1 and -1."""
    return torch.randint(2, (count,), generator=generator).float() * 2 - 1
