"""What dream.json says: the score of a round's controller in dreams, and their rules."""

from wm.dream.rules import Rules
from wm.runtime.results import PartialFile, Score


class DreamResult(PartialFile):
    """dream.json of a round."""

    score: Score
    rules: Rules


class AgentDream(PartialFile):
    """dream.json of a published agent; those of early agents do not contain the rules."""

    rules: Rules | None = None
