"""What transformers imports may warn when Python compiles it, which is at a first import: no matter of these tests."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401

    import perftune.tracing.trace  # noqa: F401
