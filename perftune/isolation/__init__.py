"""Isolation: a task and a folder to how it ended, in a process of its own. The parent's side; imports no child room."""
