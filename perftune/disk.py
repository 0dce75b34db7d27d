"""An exception to whether it says that a disk is full."""

import errno

DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DISK_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
"""What libraries say that raise errors of their own (safetensors, pyarrow), and a log whose process could say no more:
strerror of the three."""
TORCH_TEXTS = ("PytorchStreamWriter failed", "unexpected pos")
"""What torch.save says when it cannot write on, whatever the reason (caffe2/serialize/inline_container.cc)."""


class DiskFullError(Exception):
    """There is no room on the disk for something that a training writes."""

    def __init__(self, message: str, needed_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        """About what it takes in all."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or one that it was raised from or while handling, is that of a full disk."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, DiskFullError) or (isinstance(current, OSError) and current.errno in DISK_FULL_ERRORS):
            return True
        if any(text in str(current) for text in DISK_TEXTS):
            return True
        current = current.__cause__ or current.__context__
    return False
