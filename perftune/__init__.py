"""Find the fastest TrainingArguments that fit, by measuring the user's own Trainer on the device at hand."""

__version__ = "0.1.0"
