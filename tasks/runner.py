"""What the flows' graph is walked with: by Prefect, in this process, or on paper."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.settings import Settings
from pipeline_data.sources import RawFile, list_raw_files
from pipeline_data.sources.settings import FilesSource
from tasks.stage import Input, Stage
from tasks.store import Store

Job = tuple[Settings, Mapping[str, Input]]
"""Config and inputs of one stage result."""


class Runner(ABC):
    """Takes the stages that a graph asks for; whatever it answers may be an input of the next."""

    store: Store

    @abstractmethod
    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Any:
        """Ask for one stage result."""

    def map(self, stage: Stage, jobs: Mapping[str, Job]) -> dict[str, Any]:
        """Ask for a stage's results of many shards."""
        return {
            shard: self.submit(stage, config, inputs, shard)
            for shard, (config, inputs) in jobs.items()
        }

    def list_files(self, source: FilesSource) -> list[RawFile]:
        """The raw files of a source, as they are now.

        Raises:
            SourceError: they cannot be listed.
        """
        return list_raw_files(source)

    def adopt(self, file: RawFile) -> Artifact:
        """A raw file that lies where its owner put it, as an artefact."""
        return self.store.adopt(Path(file.path), file.relative)

    def adopt_folder(self, folder: str, only: Sequence[str] = ()) -> Artifact:
        """The files of a folder that lies where its owner put it, as one artefact."""
        return self.store.adopt_folder(Path(folder), only)

    def succeeded(self, result: Any) -> bool:
        """Whether a stage that can be done without came to a result."""
        return True

    @abstractmethod
    def skip(self, what: str, why: str) -> None:
        """Go on without something, and say so."""
