"""Ctrl-C works in what the tests start, also where a script runs them in the background, with SIGINT ignored."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
