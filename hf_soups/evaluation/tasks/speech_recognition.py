"""The words that are said in a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics_text
from hf_soups.evaluation.audio import decode as waveform
from hf_soups.evaluation.audio import recordings
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.generation import Decode, decoder, generate, positive

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

COLUMNS = {
    "audio": ("audio", "file", "path", "recording", "speech", "wav"),
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription"),
}


@dataclass(frozen=True)
class Hearing:
    """What turns waveforms into numbers and token ids into text: the parts of a transformers processor."""

    feature_extractor: Any
    tokenizer: Any


@dataclass(frozen=True)
class Recording:
    """A sound file, how many samples it has at the model's rate, and how an answer becomes text.

    together: whether recordings of different length may share a batch.
    """

    content: bytes
    samples: int
    decode: Decode
    together: bool


class SpeechRecognition(Task):
    """A transcript: columns audio and text; answers and references are [n] texts.

    CTC models give the likeliest token of each frame, without a language model; others write by their generation
    config. Models that hear padding (wav2vec 2.0 with group normalisation has no mask) get recordings one by one.
    max_new_tokens, num_beams: of models that write; default: the checkpoint's generation config.
    Texts have no mean, so there is no ensemble.
    """

    name = "automatic-speech-recognition"
    architectures = ("ForCTC", "ForSpeechSeq2Seq", "ForConditionalGeneration", "SpeechEncoderDecoderModel")
    metrics = metrics_text.TRANSCRIPTS
    reference = "text"

    def __init__(
        self, label_names: Sequence[str] = (), *, max_new_tokens: int | None = None, num_beams: int | None = None
    ) -> None:
        super().__init__(label_names)
        self.max_new_tokens = positive("max_new_tokens", max_new_tokens)
        self.num_beams = positive("num_beams", num_beams)

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return find(table, as_columns(data, ("audio",), "text"), COLUMNS)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        sounds = recordings(table, columns["audio"], data)
        return Loaded(sounds, texts_of(table, [columns["text"]]), (columns["audio"],), columns["text"])

    def processor(self, checkpoint: Checkpoint) -> Hearing:
        from hf_soups.model import load_feature_extractor, load_tokenizer

        return Hearing(load_feature_extractor(checkpoint), load_tokenizer(checkpoint))

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Recording]:
        if max_length is not None:
            raise EvaluationError(f"max_length is {max_length} tokens, but {self.name} reads recordings; leave it out")
        extractor = processor.feature_extractor
        decode = _collapser(processor.tokenizer) if _frame_wise(model) else decoder(processor.tokenizer)
        longest = getattr(extractor, "n_samples", None)  # Whisper hears a fixed span
        together = bool(getattr(extractor, "return_attention_mask", False)) or not _of_waveforms(extractor)
        together &= not _frame_wise(model) or hasattr(model, "_get_feat_extract_output_lengths")
        items = []
        for row, content in enumerate(examples.inputs):
            where = f"{examples.source.path}: the recording in row {row} (counting from 0)"
            try:
                samples = len(waveform(content, extractor.sampling_rate))
            except ValueError as error:
                raise EvaluationError(f"{where} cannot be heard: {error}") from error
            if longest is not None and samples > longest:
                seconds, most = samples / extractor.sampling_rate, longest / extractor.sampling_rate
                raise EvaluationError(
                    f"{where} lasts {seconds:.1f} s, but the model hears {most:g} s at most; cut it into parts"
                )
            items.append(Recording(content, samples, decode, together))
        return items

    def length(self, item: Recording) -> int:
        return item.samples

    def collate(self, processor: Any, items: Sequence[Recording], width: int) -> dict[str, torch.Tensor]:
        extractor = processor.feature_extractor
        rate = extractor.sampling_rate
        waves = [waveform(item.content, rate) for item in items]
        if _of_waveforms(extractor):
            how: dict[str, Any] = {"padding": "max_length", "max_length": width, "return_attention_mask": True}
        else:  # a spectrogram, whose usual width is the extractor's own
            how = {} if hasattr(extractor, "n_samples") else {"padding": True, "return_attention_mask": True}
        return dict(extractor(waves, sampling_rate=rate, return_tensors="pt", **how))

    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Recording]) -> list[str]:
        answers = _likeliest if _frame_wise(model) else self._write
        if items[0].together:
            return answers(model, inputs, items)
        alone = [_cut(inputs, row, item) for row, item in enumerate(items)]
        return [answers(model, one, [item])[0] for one, item in zip(alone, items, strict=True)]

    def _write(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Recording]) -> list[str]:
        return generate(model, inputs, [item.decode for item in items], self.max_new_tokens, self.num_beams)

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        return None


def _of_waveforms(extractor: Any) -> bool:
    return str(extractor.model_input_names[0]) == "input_values"


def _frame_wise(model: Any) -> bool:
    return type(model).__name__.endswith("ForCTC")


def _collapser(tokenizer: Any) -> Decode:
    """Token ids of frames as text: repetitions joined, blanks dropped.

    Special tokens are not skipped first, because the blank is one: it is what keeps the two letters of "ll" apart.
    """

    def decode(ids: Any) -> str:
        return " ".join(str(tokenizer.decode(ids)).split())

    return decode


def _cut(inputs: Mapping[str, torch.Tensor], row: int, item: Recording) -> dict[str, torch.Tensor]:
    """One row of a batch without its padding, and without a mask."""
    mask = inputs.get("attention_mask")
    length = item.samples if mask is None else int(mask[row].sum())
    return {name: values[row : row + 1, :length] for name, values in inputs.items() if name != "attention_mask"}


def _likeliest(model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Recording]) -> list[str]:
    """The tokens of a CTC model: the likeliest of every frame; the tokenizer joins repetitions and drops blanks."""
    ids = model(**inputs).logits.argmax(dim=-1)  # [rows, frames]
    counts = [ids.shape[1]] * len(items)
    if "attention_mask" in inputs and hasattr(model, "_get_feat_extract_output_lengths"):
        counts = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1)).tolist()
    rows = zip(items, ids.tolist(), counts, strict=True)
    return [item.decode(row[:count]) for item, row, count in rows]
