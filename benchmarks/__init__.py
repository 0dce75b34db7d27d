"""perftune's own performance tests and the comparisons with other tools."""
