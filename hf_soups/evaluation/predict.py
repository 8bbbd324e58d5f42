"""Logits of a classifier: an own batched loop, the same batches for every model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import Examples

if TYPE_CHECKING:
    import torch


def predict(
    model: Any,
    tokenizer: Any,
    examples: Examples,
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    dtype: str = "float32",
) -> NDArray[np.float32]:
    """[n, labels], in the order of the examples.

    model: sequence classifier of transformers; it comes back as it was, but on the device that Accelerate chose.
    max_length: tokens of an input (of both texts of a pair), longer ones are cut; default: what the model can read.
    dtype: of weights and arithmetic: float32, bfloat16 or float16.
    Batches hold inputs of similar length. They depend on token lengths and batch_size alone, so two models with one
    tokenizer get the same batches. Under `accelerate launch` every process computes everything.
    """
    import torch

    if batch_size < 1:
        raise EvaluationError(f"batch_size is {batch_size}; it must be at least 1")
    encoded = _encode(tokenizer, examples, _longest(model, tokenizer, max_length))
    if tokenizer.pad_token_id is None and batch_size > 1:
        raise EvaluationError(
            "the tokenizer has no padding token; set `tokenizer.pad_token` and `model.config.pad_token_id`, "
            "or use batch_size 1"
        )
    parameters = inspect.signature(model.forward).parameters
    accepted = parameters if "input_ids" in parameters else encoded.keys()  # a wrapper says nothing: it gets all
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    order = np.argsort(-lengths, kind="stable")  # the longest first: too little memory shows at once
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    with ExitStack() as as_it_was:
        device = as_it_was.enter_context(_placed(model))
        as_it_was.enter_context(_cast(model, getattr(torch, dtype)))
        as_it_was.enter_context(_evaluating(model))

        def forward(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            batch = _padded(tokenizer, {key: [values[i] for i in rows] for key, values in encoded.items()})
            inputs = {key: value.to(device) for key, value in batch.items() if key in accepted}
            with torch.inference_mode():
                return _logits(model(**inputs), len(rows))

        workers = as_it_was.enter_context(_workers(device))
        outputs = list(workers(forward, batches))
    logits = np.empty((examples.n, outputs[0].shape[1]), dtype=np.float32)
    logits[order] = np.concatenate(outputs)
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise EvaluationError(
            f"{examples.source.path}: logits of {len(broken)} of {examples.n} rows are not finite, the first is row "
            f"{broken[0]} (counting from 0); the model's weights are broken or {dtype} is too narrow for them"
        )
    return logits


def _encode(tokenizer: Any, examples: Examples, longest: int | None) -> dict[str, list[list[int]]]:
    if examples.n == 0:
        raise EvaluationError(f"{examples.source.path}: no rows to predict")
    texts: Sequence[Any] = examples.texts
    sides = [list(texts)] if isinstance(texts[0], str) else [list(side) for side in zip(*texts, strict=True)]
    return dict(tokenizer(*sides, truncation=longest is not None, max_length=longest))


def _longest(model: Any, tokenizer: Any, asked: int | None) -> int | None:
    """Tokens that model and tokenizer can take, or fewer if asked for. None: no bound."""
    said = (tokenizer.model_max_length, getattr(getattr(model, "config", None), "max_position_embeddings", None) or -1)
    limits = [limit for limit in said if 0 < limit < 10**9]  # huge or -1: nobody knows, or there is none
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
            limits.append(module.num_embeddings - offset)
    longest = min(limits, default=None)
    if asked is not None and longest is not None and asked > longest:
        raise EvaluationError(f"max_length is {asked}, but the model reads at most {longest} tokens; lower it")
    return asked if asked is not None else longest


def _padded(tokenizer: Any, batch: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
    """Every list as long as the longest, on the tokenizer's side."""
    import torch

    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    longest = max(len(ids) for ids in batch["input_ids"])
    padded = {}
    for key, lists in batch.items():
        rows = []
        for values in lists:
            padding = [fill.get(key) or 0] * (longest - len(values))
            rows.append(padding + values if tokenizer.padding_side == "left" else values + padding)
        padded[key] = torch.tensor(rows, dtype=torch.long)  # [batch, longest]
    return padded


def _logits(output: Any, rows: int) -> NDArray[np.float32]:
    logits = getattr(output, "logits", None)
    if logits is None or logits.ndim != 2 or logits.shape[0] != rows:
        shape = "no logits" if logits is None else f"logits {list(logits.shape)}"
        raise EvaluationError(f"the model gives {shape} for {rows} inputs; load it as a sequence classifier")
    return np.asarray(logits.float().cpu().numpy(), dtype=np.float32)


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
