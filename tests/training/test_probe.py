"""The shared head gives a logistic regression's probabilities, whatever the architecture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from hf_soups.errors import CheckpointError, EvaluationError
from hf_soups.training.batches import Batches
from hf_soups.training.probe import STRENGTH, features, fit, probe
from tests.models import tokenizer

COMMON = {"vocab_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 40}


def model(kind: str, labels: int) -> Any:
    """A tiny random classifier whose head is built like those of its family."""
    import transformers

    size = {"hidden_size": 16, "intermediate_size": 32}
    configs: dict[str, Any] = {
        "Bert": lambda: transformers.BertConfig(**COMMON, **size, num_labels=labels),
        "Roberta": lambda: transformers.RobertaConfig(**COMMON, **size, num_labels=labels, pad_token_id=0),
        "DistilBert": lambda: transformers.DistilBertConfig(
            vocab_size=20, dim=16, hidden_dim=32, n_layers=1, n_heads=2, num_labels=labels
        ),
        "Llama": lambda: transformers.LlamaConfig(**COMMON, **size, num_labels=labels, pad_token_id=0),
    }
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(configs[kind]())


def batches(folder: Path, n: int, labels: int) -> Batches:
    """Random token ids of several lengths, some of which hint at the label."""
    from transformers import AutoTokenizer

    tokenizer(folder)
    rng = np.random.default_rng(0)
    y = np.arange(n) % labels
    inputs = []
    for label in y:
        ids = [2, int(5 + label), *rng.integers(5, 20, rng.integers(1, 9)).tolist(), 3]
        inputs.append({"input_ids": ids, "attention_mask": [1] * len(ids)})
    return Batches(inputs, torch.from_numpy(y), AutoTokenizer.from_pretrained(folder), 8)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert", "Llama"])
def test_the_probed_model_gives_the_probabilities_of_scikit_learn(tmp_path: Path, kind: str, labels: int) -> None:
    classifier, examples = model(kind, labels), batches(tmp_path, 60, labels)

    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return classifier(**{k: v for k, v in inputs.items() if k in ("input_ids", "attention_mask")}).logits

    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    layer, x = features(classifier, examples, labels, forward)
    biased = layer.bias is not None
    probe(classifier, examples, [str(i) for i in range(labels)], forward)

    y = examples.labels.numpy()
    scaled = StandardScaler(with_mean=biased), LogisticRegression(C=STRENGTH, max_iter=2000, fit_intercept=biased)
    expected = make_pipeline(*scaled).fit(x, y).predict_proba(x)
    weight, bias = fit(x, y, intercept=biased)
    assert_allclose(torch.from_numpy(x @ weight.T + bias).softmax(-1), expected, atol=1e-9)
    classifier.eval()
    for row, ids in enumerate(examples.inputs):
        alone = {k: torch.tensor([v]) for k, v in ids.items()}
        with torch.no_grad():
            assert_allclose(forward(alone).softmax(-1)[0], expected[row], atol=5e-4)  # float32
    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    last = {"Bert": "classifier", "Roberta": "classifier.out_proj", "DistilBert": "classifier", "Llama": "score"}[kind]
    assert changed == {f"{last}.weight"} | ({f"{last}.bias"} if biased else set())


def test_a_feature_that_never_changes_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=40), np.full(40, 3.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight, bias = fit(x, (x[:, 0] > 0).astype(int), intercept=True)
    assert np.isfinite(weight).all() and np.isfinite(bias).all()
    assert (weight[:, 1] == 0).all()


def test_the_scale_of_the_features_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), np.arange(50) % 2
    weight, bias = fit(x, y, intercept=True)
    other, shifted = fit(x * 100 + 7, y, intercept=True)
    assert_allclose(x @ weight.T + bias, (x * 100 + 7) @ other.T + shifted, atol=1e-4)


def test_a_label_without_examples_is_named(tmp_path: Path) -> None:
    examples = batches(tmp_path, 8, 2)
    with pytest.raises(EvaluationError, match="no example is labelled neutral"):
        probe(nn.Linear(2, 3), examples, ["bad", "good", "neutral"], lambda inputs: torch.zeros(8, 3))


def test_a_model_without_a_linear_output_is_refused(tmp_path: Path) -> None:
    linear = nn.Linear(1, 2)

    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return linear(inputs["input_ids"][:, :1].float()).tanh()

    with pytest.raises(CheckpointError, match="head: existing"):
        probe(nn.Sequential(linear), batches(tmp_path, 8, 2), ["bad", "good"], forward)
