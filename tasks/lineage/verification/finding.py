"""What an examination of a lineage found wrong, one finding a thing to mend."""

from dataclasses import dataclass, field

RERUN = "'headwater run' makes it again"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: what sort of thing, for programs: ``file-changed``, ``record-edited``.
        subject: the artefact, name or run it is about.
        what: what is wrong with it.
        place: the path or address where it lies.
        mend: what to do about it.
    """

    kind: str
    subject: str
    what: str
    place: str
    mend: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what} ({self.place}); {self.mend}"


@dataclass
class Findings:
    """What an examination found, and what it says without anything being wrong."""

    problems: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def extend(self, other: "Findings") -> None:
        """Take over what another examination found, but for the same about the same place."""
        known = {(problem.kind, problem.place) for problem in self.problems}
        self.problems += [p for p in other.problems if (p.kind, p.place) not in known]
        self.notes += [note for note in other.notes if note not in self.notes]
