"""What a merge says while it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hf_soups.planning import Plan
from hf_soups.selection import Selection

if TYPE_CHECKING:
    from hf_soups.evaluation.results import DatasetReport, Results


class Listener:
    """What somebody who waits may want to hear; this one keeps silent."""

    def tell(self, text: str) -> None:
        """A step begins."""

    def planned(self, plan: Plan) -> None:
        """Everything fits together; nothing large was read yet."""

    def loaded(self, datasets: Sequence[DatasetReport]) -> None:
        """The data are read; nothing is predicted yet."""

    def evaluated(self, results: Results, selection: Selection | None) -> None:
        """The table is known; nothing is written yet."""

    def writing(self, total: int) -> Callable[[int], None]:
        """Weights of `total` bytes begin to be written; the answer hears the bytes of each chunk."""
        return lambda count: None

    def reading(self, total: int) -> Callable[[int], None]:
        """About `total` bytes begin to come over the network; the answer hears each piece, from any thread."""
        return lambda count: None
