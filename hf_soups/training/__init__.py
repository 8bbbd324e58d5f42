"""Makes good ingredients: fine-tunings that share one head. Importing it is light; torch loads inside `finetune`."""

from hf_soups.training.finetune import finetune
from hf_soups.training.job import Progress
from hf_soups.training.sweep import Card, Lora, Run, Sweep, load_sweep, loads_sweep

__all__ = ["Card", "Lora", "Progress", "Run", "Sweep", "finetune", "load_sweep", "loads_sweep"]
