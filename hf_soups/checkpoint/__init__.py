"""Named tensors, wherever they live, read by element range."""

from hf_soups.checkpoint.base import Checkpoint, Origin, Spec
from hf_soups.checkpoint.files import Files, LocalFiles, Source
from hf_soups.checkpoint.folder import check_free, check_room, new_folder, write_bytes, write_text
from hf_soups.checkpoint.lora import Lora
from hf_soups.checkpoint.renamed import Renamed, opened
from hf_soups.checkpoint.state_dict import StateDict
from hf_soups.checkpoint.stored import Stored, is_adapter
from hf_soups.checkpoint.terms import Terms, simplify
from hf_soups.checkpoint.writer import ShardFile, ShardWriter, layout

__all__ = [
    "Checkpoint",
    "Files",
    "LocalFiles",
    "Lora",
    "Origin",
    "Renamed",
    "ShardFile",
    "ShardWriter",
    "Source",
    "Spec",
    "StateDict",
    "Stored",
    "Terms",
    "check_free",
    "check_room",
    "is_adapter",
    "layout",
    "new_folder",
    "opened",
    "simplify",
    "write_bytes",
    "write_text",
]
