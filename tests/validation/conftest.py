"""What transformers imports may warn when Python compiles it, which is at a first import: no matter of these tests."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import benchmarks.validation.workload  # noqa: F401
