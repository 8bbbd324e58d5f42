"""Transcripts are what the model hears in a recording, at its own rate, whatever company the recording has."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile  # type: ignore[import-untyped]

from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.audio import decode
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks.speech_recognition import Hearing, SpeechRecognition
from hf_soups.recipe import Data, Evaluate
from hf_soups.selection.candidates import Candidates

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
RATE = 16_000
LETTERS = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGH"])}
pytestmark = pytest.mark.usefixtures("one_thread")


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def noises(count: int, seed: int = 0) -> list[bytes]:
    """Recordings of 0.1 to 0.4 seconds, in 16-bit integers."""
    random = np.random.default_rng(seed)
    lengths = random.integers(RATE // 10, 2 * RATE // 5, size=count)
    return [wav((random.normal(size=n) * random.uniform(500, 5000)).astype(np.int16)) for n in lengths]


def listener(folder: Path, normalises: str) -> tuple[Any, Hearing]:
    """A small random Wav2Vec2ForCTC, with masks ("layer") or deaf to them ("group"), and its processor."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        vocab_size=len(LETTERS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8, 8), conv_stride=(5, 4, 4), conv_kernel=(10, 8, 4), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, feat_extract_norm=normalises, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Wav2Vec2ForCTC(config)
        model.lm_head.weight.data *= 3  # so that letters differ
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(LETTERS))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=normalises == "layer", sampling_rate=RATE)
    for part in (model, tokenizer, extractor):
        part.save_pretrained(folder)
    return model, Hearing(extractor, tokenizer)


def asked(model: Any, hearing: Hearing, sounds: Sequence[bytes], **how: Any) -> Sequence[str]:
    examples = Examples(tuple(sounds), ("A",) * len(sounds), None, Source(path="made.parquet"))
    found = predict(SpeechRecognition(), model, hearing, examples, **how)
    assert isinstance(found, tuple)
    return found


def plainly(model: Any, hearing: Hearing, sound: bytes) -> str:
    samples = wavfile.read(io.BytesIO(sound))[1] / 32768
    with torch.no_grad():
        inputs = hearing.feature_extractor(samples, sampling_rate=RATE, return_tensors="pt")
        logits = model.eval()(inputs["input_values"]).logits[0]
    return by_hand(logits.argmax(-1).tolist())


def by_hand(ids: Sequence[int]) -> str:
    """CTC's rule (Graves et al. 2006): join repetitions, then drop blanks (0)."""
    names = {i: token for token, i in LETTERS.items()}
    kept = [now for now, before in zip(ids, [-1, *ids[:-1]], strict=True) if now not in (before, 0)]
    return " ".join("".join(names[i] for i in kept).replace("|", " ").split())


@pytest.mark.parametrize("normalises", ["layer", "group"])
def test_a_recording_is_heard_the_same_alone_and_in_any_batch(normalises: str, tmp_path: Path) -> None:
    model, hearing = listener(tmp_path / "m", normalises)
    sounds = noises(9)
    expected = tuple(plainly(model, hearing, sound) for sound in sounds)
    assert len(set(expected)) > 5
    for batch_size in (1, 4, 9):
        assert asked(model, hearing, sounds, batch_size=batch_size) == expected


def test_wave_files_of_every_kind_give_one_waveform() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / RATE)
    made: dict[str, np.ndarray] = {
        "float": tone.astype(np.float32),
        "16 bits": np.round(tone * 32767).astype(np.int16),
        "32 bits": np.round(tone * (2**31 - 1)).astype(np.int32),
        "8 bits": np.round(tone * 127 + 128).astype(np.uint8),
        "stereo": np.stack([2 * tone, 0 * tone], axis=1).astype(np.float32),
    }
    for kind, samples in made.items():
        found = decode(wav(samples), RATE)
        assert found.dtype == np.float32 and found.shape == (4000,)
        assert np.abs(found - tone).max() < (0.01 if kind == "8 bits" else 1e-4), kind


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled(rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
    found = decode(wav(tone.astype(np.float32), rate), RATE)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
    assert abs(len(found) - len(expected)) <= 1
    middle = slice(1000, 7000)  # a filter has less to go by at the ends
    assert np.abs(found[middle] - expected[middle]).max() < 0.01


def test_recordings_come_as_audio_as_bytes_or_as_files(tmp_path: Path) -> None:
    from datasets import Audio, Dataset, Features, Value

    sounds = noises(3)
    for i, sound in enumerate(sounds):
        (tmp_path / f"{i}.wav").write_bytes(sound)
    rows = {"audio": [{"bytes": sound, "path": None} for sound in sounds], "text": ["A", "B", "C"]}
    typed = Features({"audio": Audio(decode=False), "text": Value("string")})  # with True, only torchcodec writes it
    Dataset.from_dict(rows).cast(typed).cast_column("audio", Audio()).to_parquet(tmp_path / "typed.parquet")
    Dataset.from_dict({"audio": sounds, "text": rows["text"]}).to_parquet(tmp_path / "bytes.parquet")
    (tmp_path / "files.csv").write_text("file,sentence\n0.wav,A\n1.wav,B\n2.wav,C\n")
    found = [load(Data(str(tmp_path / name), "test"), SpeechRecognition()) for name in
             ("typed.parquet", "bytes.parquet", "files.csv")]  # fmt: skip
    assert [examples.fingerprint for examples in found] == [found[0].fingerprint] * 3
    assert found[0].inputs == tuple(sounds) and found[0].references == ("A", "B", "C")


def test_what_cannot_be_heard_is_named(tmp_path: Path, table: Write) -> None:
    model, hearing = listener(tmp_path / "m", "layer")
    good = noises(1)[0]
    for bad in (good[:30], b"RIFF\0\0\0\0WAVEjunk", b"no sound at all", wav(np.zeros(0, np.int16)), b""):
        with pytest.raises(EvaluationError, match=r"recording in row 1 .* cannot be heard: "):
            asked(model, hearing, [good, bad])
    with pytest.raises(EvaluationError, match=r"column file: row 0 .* holds no recording: No such file"):
        load(Data(table("a.csv", {"file": ["x.wav"], "text": ["A"]}), "test"), SpeechRecognition())
    with pytest.raises(EvaluationError, match=r"max_length is 5 tokens, but .* reads recordings"):
        asked(model, hearing, [good], max_length=5)


def test_flac_is_heard_where_soundfile_is_installed() -> None:
    soundfile: Any = pytest.importorskip("soundfile")
    file, tone = io.BytesIO(), 0.5 * np.sin(np.arange(4000) / 10)
    soundfile.write(file, tone, RATE, format="FLAC")
    assert np.abs(decode(file.getvalue(), RATE) - tone).max() < 1e-4


def test_a_checkpoint_on_disk_is_heard_scored_and_remembered(tmp_path: Path) -> None:
    from datasets import Dataset

    model, hearing = listener(tmp_path / "m", "group")
    sounds = noises(12)
    truth = [plainly(model, hearing, sound) for sound in sounds]
    told = [text if i % 3 else text + " A" for i, text in enumerate(truth)]  # four words are missed
    Dataset.from_dict({"audio": sounds, "text": told}).to_parquet(tmp_path / "a.parquet")
    evaluate = Evaluate({"test": Data(str(tmp_path / "a.parquet"), "test")}, task="automatic-speech-recognition")
    evaluator = Evaluator(evaluate, (), Predictions(tmp_path / "cache"))
    checkpoint = Stored(LocalFiles(tmp_path / "m"), Origin(name="m"))
    found = Candidates(evaluator, lambda ingredient: checkpoint).outputs(checkpoint)
    assert found["test"] == tuple(truth)
    row = evaluator.row("m", "ingredient", found).scores["test"]["wer"]
    assert row.value == pytest.approx(4 / sum(len(text.split()) for text in told))
    assert row.low < row.value < row.high and evaluator.ensemble([found["test"]]) is None
    again = Evaluator(evaluate, (), Predictions(tmp_path / "cache"))
    assert Candidates(again, lambda ingredient: checkpoint).outputs(checkpoint) == found
    assert (again.cache.hits, again.cache.misses) == (1, 0)


def test_a_model_that_writes_is_heard_by_its_generation_config() -> None:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    from .word_tokenizer import SIZE, word_tokenizer

    size = {f"{side}_{part}": 2 for side in ("encoder", "decoder") for part in ("layers", "attention_heads")}
    config = WhisperConfig(
        vocab_size=SIZE, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=50,
        max_target_positions=32, pad_token_id=SIZE - 1, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        init_std=0.5, suppress_tokens=None, begin_suppress_tokens=None, **size,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config).eval()
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=1, sampling_rate=RATE)
    hearing, sounds = Hearing(extractor, word_tokenizer(ends=True)), noises(5)
    model.generation_config.max_new_tokens = 6
    expected = []
    for sound in sounds:
        samples = decode(sound, RATE)
        features = extractor(samples, sampling_rate=RATE, return_tensors="pt")["input_features"]
        written = model.generate(features, do_sample=False)[0]
        expected.append(hearing.tokenizer.decode(written, skip_special_tokens=True).strip())
    assert len(set(expected)) > 1
    for batch_size in (1, 3):
        assert asked(model, hearing, sounds, batch_size=batch_size) == tuple(expected)
    with pytest.raises(EvaluationError, match=r"row 1 .* lasts 1\.5 s, but the model hears 1 s at most"):
        asked(model, hearing, [sounds[0], wav(np.zeros(24_000, np.int16))])


def test_an_architecture_of_several_tasks_asks_which() -> None:
    assert tasks.infer({"architectures": ["Wav2Vec2ForCTC"]}) == "automatic-speech-recognition"
    for architecture in ("T5ForConditionalGeneration", "WhisperForConditionalGeneration"):
        with pytest.raises(EvaluationError, match=r"Say `task:`, one of summarization, translation, automatic-speech"):
            tasks.infer({"architectures": [architecture]})
