"""What a causal language model loses on texts, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics_text
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

TEXT = {"text": ("text", "content", "sentence", "document", "story", "code", "body")}
COMPLETED = {
    "prompt": ("prompt", "instruction", "question", "input", "context"),
    "completion": ("completion", "response", "answer", "output", "target"),
}
WINDOW = 2048  # tokens at once where a model reads more: logits are window x vocabulary
LOGITS = 2**28  # numbers in the logits of one forward pass, 1 GiB; a batch that needs more is run in parts


@dataclass(frozen=True)
class Window:
    """Part of a text that a model reads at once: its token ids, of which those from `scored` on count."""

    ids: Sequence[int]
    scored: int


class TextGeneration(Task):
    """The loss of each token given those before it: answers [tokens, 1] in nats, references [n] bytes.

    Column text; or prompt and completion, of which only the completion counts.
    The first token is read after the tokenizer's BOS (else EOS) token, so it counts too; other special tokens are not
    added. Texts longer than a window (`max_length`; default: what the model reads, at most 2,048) are read in windows
    that overlap by half, so that every token counts once, with half a window before it. Empty texts count nothing.
    The mean of losses is no ensemble: models together predict with the mean of their logits, which one model's losses
    do not tell. `evaluation.together` runs them side by side.
    """

    name = "text-generation"
    architectures = ("ForCausalLM", "LMHeadModel")
    metrics = metrics_text.LANGUAGE_MODEL
    reference = ""

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return _columns(table, data)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        texts = texts_of(table, tuple(columns.values()))
        inputs = tuple(one if isinstance(one, str) else _apart(*one) for one in texts)
        read = tuple(columns.values())
        scored = [one if isinstance(one, str) else one[1] for one in inputs]
        sizes = np.array([len(text.encode("utf-8", "surrogatepass")) for text in scored], np.int64)
        if not sizes.any():
            raise EvaluationError(f"{table.where(read[-1])}: every text is empty")
        return Loaded(inputs, sizes, read, read[-1])

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[list[Window]]:
        start = processor.bos_token_id if processor.bos_token_id is not None else processor.eos_token_id
        if start is None:
            raise EvaluationError(
                "the tokenizer has neither a BOS nor an EOS token, so nothing can stand before the first token of a "
                "text; set `tokenizer.bos_token`"
            )
        most = tokens.longest(model, processor, max_length)
        width = most if max_length is not None and most is not None else min(most or WINDOW, WINDOW)
        if width < 2:
            raise EvaluationError(f"max_length is {width}; a token and one before it are 2")
        pairs = [("", one) if isinstance(one, str) else one for one in examples.inputs]
        whole = _ids(processor, [prompt + completion for prompt, completion in pairs])
        prompts = [len(ids) for ids in _ids(processor, [prompt for prompt, _ in pairs])]
        return [
            windows([start, *ids], 1 + min(before, max(len(ids) - 1, 0)), width) if completion else []
            for ids, before, (_, completion) in zip(whole, prompts, pairs, strict=True)
        ]

    def length(self, item: Sequence[Window]) -> int:
        return max((len(window.ids) for window in item), default=0)

    def collate(self, processor: Any, items: Sequence[Sequence[Window]], width: int) -> dict[str, torch.Tensor]:
        import torch

        texts = [window.ids for item in items for window in item]
        ids = torch.zeros((len(texts), width), dtype=torch.long)  # what pads is never looked at: it comes after
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Sequence[Window]]
    ) -> list[NDArray[np.float32]]:
        windows = [window for item in items for window in item]
        logits_each = max(inputs["input_ids"].shape[1], 1) * model.get_output_embeddings().weight.shape[0]
        at_once = max(1, LOGITS // logits_each)
        losses: list[NDArray[np.float32]] = []
        for first in range(0, len(windows), at_once):
            part = {key: value[first : first + at_once] for key, value in inputs.items()}
            logits = model(**part, use_cache=False).logits[:, :-1]
            losses += losses_of(logits.float(), part["input_ids"], windows[first : first + at_once])
        return joined(losses, items)

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        return None

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        super().check(outputs, examples, whose)
        if not isinstance(outputs, Ragged) or outputs.values.shape[1] != 1:
            raise EvaluationError(f"{whose}: expected one loss for each token")


def losses_of(logits: torch.Tensor, ids: torch.Tensor, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
    """Of each window, the loss of every token that counts, in nats.

    logits: [windows, width - 1, vocabulary] float32, of each token after the first; ids: [windows, width].
    """
    import torch

    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    lines = flat.reshape(logits.shape[:2]).cpu().numpy()
    return [line[w.scored - 1 : len(w.ids) - 1] for line, w in zip(lines, windows, strict=True)]


def joined(losses: Sequence[NDArray[np.float32]], items: Sequence[Sequence[Window]]) -> list[NDArray[np.float32]]:
    """[tokens, 1] of each text, from the losses of its windows, text after text."""
    found = iter(losses)
    nothing = np.zeros(0, np.float32)
    return [np.concatenate([nothing, *(next(found) for _ in item)])[:, None] for item in items]


def windows(ids: Sequence[int], scored: int, width: int) -> list[Window]:
    """Windows in which every token from `scored` on counts exactly once, with at least half a window before it.

    scored: at least 1: the first token has nothing before it.
    """
    step = max(1, width // 2)
    found = []
    end = min(len(ids), max(width, scored + step))
    while scored < len(ids):
        begin = max(0, end - width)
        found.append(Window(ids[begin:end], scored - begin))
        scored, end = end, min(len(ids), end + step)
    return found


def _columns(table: Table, data: Data) -> dict[str, str]:
    """The columns that the recipe names; else the text where there is one, else prompt and completion."""
    if len(data.text or ()) > 1 or set(data.columns) & set(COMPLETED):
        return find(table, as_columns(data, tuple(COMPLETED), "completion"), COMPLETED)
    data = as_columns(replace(data, label=None), tuple(TEXT), "text")  # the text is all that counts
    return find(table, data, TEXT, optional=tuple(TEXT)) or _both(table, data) or find(table, data, TEXT)


def _both(table: Table, data: Data) -> dict[str, str]:
    found = find(table, data, COMPLETED, optional=tuple(COMPLETED))
    return found if len(found) == len(COMPLETED) else {}


def _apart(prompt: str, completion: str) -> tuple[str, str]:
    """White space between the two belongs to the completion: tokenizers join it with the word that follows."""
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + completion if completion else ""


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return found
