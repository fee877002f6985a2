"""The order of records: which of them each step of a training sees.

Records are what a stage after pretraining learns from: demonstrations, groups of responses,
prompts, kept answers. Their order is a pure function of name, seed and sizes, as
:mod:`model_code.data_order` is for tokens, so that it can be computed for ever.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model_code.hash_order import shuffle_passes


@dataclass(frozen=True)
class RecordOrder:
    """Every record once in each pass, each pass in an order of its own, cut into batches.

    A batch may hold the end of one pass and the start of the next. Orders of other names are
    others, whatever the seed.
    """

    name: str
    num_records: int
    batch_size: int
    steps: int
    seed: int

    def records(self, step: int) -> list[int]:
        """The records of a step, ``batch_size`` of them.

        Raises:
            IndexError: there is no such step.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not in 0..{self.steps - 1}")
        batch: list[int] = self.queue[
            step * self.batch_size : (step + 1) * self.batch_size
        ].tolist()
        return batch

    def steps_of(self, record: int) -> list[int]:
        """The steps that see a record, each once."""
        steps: list[int] = np.unique(
            np.flatnonzero(self.queue == record) // self.batch_size
        ).tolist()
        return steps

    @cached_property
    def queue(self) -> npt.NDArray[np.int64]:
        """The records of all steps, one after the other, ``[steps * batch_size]``."""
        name = f"{self.seed}/records/{self.name}"
        return shuffle_passes(name, self.num_records, self.steps * self.batch_size)
