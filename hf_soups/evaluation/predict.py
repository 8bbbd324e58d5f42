"""A model's answers to all rows: an own batched loop, the same batches for every model."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.batches import Batches, Keep, in_batches
from hf_soups.evaluation.outputs import Outputs, assemble, finite
from hf_soups.placement import device_of, is_dispatched

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tasks.base import Task


def predict(
    task: Task,
    model: Any,
    processor: Any,
    examples: Examples,
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    dtype: str = "float32",
) -> Outputs:
    """The answers to all rows, in the order of the examples. For the arguments see `answering`."""
    with answering(
        task, model, processor, examples, batch_size=batch_size, max_length=max_length, dtype=dtype
    ) as batches:
        rows: list[Any] = [None] * examples.n
        for part, found in batches.run(batches):
            for row, answer in zip(part.rows, found, strict=True):
                rows[row] = answer
    return assemble(rows)


@contextmanager
def answering(
    task: Task,
    model: Any,
    processor: Any,
    examples: Examples,
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    dtype: str = "float32",
    items: Sequence[Any] | None = None,
    keep: Keep | None = None,
) -> Iterator[Batches]:
    """A model ready to answer, batch by batch.

    model: it comes back as it was, but on the device that Accelerate chose.
    max_length: tokens of an input, longer ones are cut; default: what the model can read.
    dtype: of weights and arithmetic: float32, bfloat16 or float16.
    items: the rows as the task encodes them for this model and processor, where that is done already.
    keep: as of `Batches`.
    Raises EvaluationError where answers are not finite. Where memory does not suffice for a batch, its halves are run
    one after the other, padded as the whole.
    """
    import torch

    if batch_size < 1:
        raise EvaluationError(f"batch_size is {batch_size}; it must be at least 1")
    if examples.n == 0:
        raise EvaluationError(f"{examples.source.path}: no rows to predict")
    parameters = inspect.signature(model.forward).parameters
    named = any(name in parameters for name in ("input_ids", "pixel_values", "input_values", "input_features"))
    with ExitStack() as as_it_was:
        device = as_it_was.enter_context(ready(model, dtype))
        with torch.inference_mode():  # some tasks run the model on what all rows share
            items = task.encode(model, processor, examples, max_length) if items is None else items
        batches = in_batches(np.array([task.length(item) for item in items]), batch_size)

        def forward(part: NDArray[np.int64], width: int) -> list[Any]:
            some = [items[i] for i in part]
            inputs = {
                key: _sent(value, device, getattr(torch, dtype))
                for key, value in task.collate(processor, some, width).items()
                if key in parameters or not named  # a wrapper says nothing: it gets all
            }
            with torch.inference_mode():
                return task.answer(model, inputs, some)

        def answer(part: NDArray[np.int64], width: int) -> list[Any]:
            found = halved(forward, part, width)
            for row, one in zip(part, found, strict=True):
                if not finite(one):
                    raise EvaluationError(
                        f"{examples.source.path}: the answer to row {row} (counting from 0) is not finite; the "
                        f"model's weights are broken or {dtype} is too narrow for them"
                    )
            return found

        yield Batches(batches, answer, as_it_was.enter_context(_workers(device)), keep, device.type == "cpu")


def halved(forward: Callable[[NDArray[np.int64], int], list[Any]], part: NDArray[np.int64], width: int) -> list[Any]:
    """`forward(part, width)`, in halves of halves where memory does not suffice for the whole."""
    import torch

    try:
        return forward(part, width)
    except (torch.OutOfMemoryError, MemoryError) as error:
        if len(part) == 1:
            raise EvaluationError(
                f"one row of length {width} does not fit into memory; lower max_length, or use a narrower dtype"
            ) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) or len(part) == 1:
            raise
    warnings.warn(
        f"{len(part)} rows at once do not fit into memory, so they are run as two halves, which may change the last "
        "bits of answers; a smaller batch_size spares the attempt",
        stacklevel=2,
    )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = (len(part) + 1) // 2
    return [*halved(forward, part[:middle], width), *halved(forward, part[middle:], width)]


def kind_of_device() -> str:
    """cpu, cuda, mps: what Accelerate would run a model on, on this machine."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _sent(value: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return value.to(device, dtype) if value.is_floating_point() else value.to(device)


@contextmanager
def ready(model: Any, dtype: str) -> Iterator[Any]:
    """The model on Accelerate's device, which it yields, in one dtype, in evaluation mode; afterwards as it was.

    One whose weights are dispatched stays where it is, in its own dtype, and yields where it wants its inputs.
    """
    import torch

    if is_dispatched(model):
        with _one_thread(device_of(model)) as device, _evaluating(model):
            yield device
        return
    with _placed(model) as device, _cast(model, getattr(torch, dtype)), _evaluating(model):
        yield device


@contextmanager
def _one_thread(device: torch.device) -> Iterator[torch.device]:
    """On a CPU, so that `_workers` runs one batch at a time: a layer's weights leave with the first that used them."""
    import torch

    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield device
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _placed(model: Any) -> Iterator[Any]:
    """The model on the device that Accelerate chooses; Accelerate's global state is left as it was found."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = [state._shared_state for state in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared]
    was_prepared = hasattr(model, "_is_accelerate_prepared")
    accelerator = Accelerator() if AcceleratorState._shared_state else Accelerator(mixed_precision="no")
    try:
        if accelerator.mixed_precision == "no":
            accelerator.prepare_model(model, evaluation_mode=True)
        elif not accelerator.verify_device_map(model):
            model.to(accelerator.device)  # prepared, it would run in the caller's mixed precision
        yield next(model.parameters()).device
    finally:
        if not was_prepared and hasattr(model, "_is_accelerate_prepared"):
            del model._is_accelerate_prepared  # or a training that prepares it later would skip it
        for state, content in zip(shared, before, strict=True):
            state.clear()
            state.update(content)


@contextmanager
def _workers(device: torch.device) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` in order: on a CPU, as many batches at once as torch has threads, one thread each.

    Small models wait more than they work when the threads share one batch: two threads took as long as one.
    """
    import torch

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _cast(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """The model with all its floating-point tensors in one dtype; afterwards the very same tensors as before."""
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point() and t.dtype != dtype]
    stored = [t.data for t in tensors]
    for t in tensors:
        t.data = t.data.to(dtype)
    try:
        yield
    finally:
        for t, data in zip(tensors, stored, strict=True):
            t.data = data


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode, and then every module's own mode again."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in training:
            module.training = flag
