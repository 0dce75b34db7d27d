"""A study to what a person reads: terminal, Markdown, HTML. Pure: same study, same bytes."""
