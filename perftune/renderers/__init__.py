"""A study with its recommendation to what people read: terminal, Markdown, HTML. Pure: same study, same text."""
