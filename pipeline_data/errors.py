"""Every error a user can meet.

    HeadwaterError              one line: what, where, how to mend
    ├── RecipeError             a recipe or an override says something impossible
    ├── SourceError             a source cannot be had or read
    ├── TransientError          something may pass by itself, so a retry may help (a full disk)
    │   └── UnreachableError    ... as a source that cannot be had now; also a SourceError
    ├── ArtifactError           an artefact is missing, damaged or does not fit
    └── StageError              a stage crashed; names the log that says why

``ValueError`` and ``AssertionError`` stay what they are in Python: a bug.
"""


class HeadwaterError(Exception):
    """Base of all errors that end in one line and a non-zero exit code."""


class RecipeError(HeadwaterError):
    """A recipe or override is not valid; the text names file, key and what is allowed."""


class SourceError(HeadwaterError):
    """A source cannot be read at all (a bad record only costs itself)."""


class TransientError(HeadwaterError):
    """The work is sound and its surroundings are not; the stage may be retried."""


class UnreachableError(SourceError, TransientError):
    """A source cannot be reached now."""


class ArtifactError(HeadwaterError):
    """An artefact is missing, damaged, or not of the kind a stage needs."""


class StageError(HeadwaterError):
    """A stage died of something other than the user's input; the text names its log."""
