"""What a recommendation turned down to points of a list: grouped by the reason, what was run first."""

from collections.abc import Sequence

from perftune.records.recommendation import Recommendation
from perftune.reports.document import EVERYWHERE, REPORT_ONLY, SUMMARY_ONLY, Bullet
from perftune.reports.words import clean

MAX_NAMED = 3
"""Rejected candidates that are named where several share a reason."""
MAX_IN_SUMMARY = 8


def rejected_bullets(recommendation: Recommendation) -> tuple[Bullet, ...]:
    """Every reason once; a summary has the first ones and says where the others are."""
    groups: dict[str, list[str]] = {}
    for rejection in sorted(recommendation.rejected, key=lambda one: one.trial is None):
        trial = "" if rejection.trial is None else f" (trial {rejection.trial})"
        what = clean(rejection.what)
        groups.setdefault(clean(rejection.reason).removeprefix(f"{what}: "), []).append(what + trial)
    bullets = [
        Bullet(reason, _some(list(dict.fromkeys(whats))), EVERYWHERE if number < MAX_IN_SUMMARY else REPORT_ONLY)
        for number, (reason, whats) in enumerate(groups.items())
    ]
    if len(bullets) > MAX_IN_SUMMARY:
        more = len(bullets) - MAX_IN_SUMMARY
        said = f"{more} more reason{' is' if more == 1 else 's are'} in report.md"
        bullets.append(Bullet(said, shapes=SUMMARY_ONLY))
    return tuple(bullets)


def _some(whats: Sequence[str]) -> str:
    more = len(whats) - MAX_NAMED
    return "; ".join(whats) if more <= 1 else f"{'; '.join(whats[:MAX_NAMED])}; and {more} more"
