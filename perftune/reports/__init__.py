"""A study or a plan to one document, and the document to a terminal, Markdown or HTML. Pure: same study, same text.

All sentences and cells are made once, in the document; `terminal`, `markdown` and `html` walk it and know no study, so
what they say cannot differ.
"""

from perftune.reports.plan import plan_document
from perftune.reports.study import study_document

__all__ = ["plan_document", "study_document"]
