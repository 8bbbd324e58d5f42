"""The main job, put together: resolve, plan, pull, select, merge, check, evaluate, card, push."""

from hf_soups.pipeline.ask import make_recipe
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.options import Options
from hf_soups.pipeline.run import Outcome, run
from hf_soups.pipeline.share import assist
from hf_soups.pipeline.verbs import evaluate, merge, plan, push, push_soup

__all__ = [
    "Listener",
    "Options",
    "Outcome",
    "assist",
    "evaluate",
    "make_recipe",
    "merge",
    "plan",
    "push",
    "push_soup",
    "run",
]
