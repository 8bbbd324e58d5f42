"""Images as bytes: out of a table, and as pixels when a model is to see them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError

if TYPE_CHECKING:
    from hf_soups.evaluation.tables import Table

NAMES = ("image", "img", "images", "picture", "photo", "pixels", "file_name", "image_path", "file", "path")


@dataclass(frozen=True)
class Picture:
    """An encoded image, and the row that it is the input of."""

    content: bytes
    row: int
    where: str

    def pixels(self) -> Any:
        """A PIL image in RGB, upright as its EXIF data says; EvaluationError that names the row if it is broken."""
        from PIL import Image, ImageOps

        try:
            with Image.open(io.BytesIO(self.content)) as image:
                upright = ImageOps.exif_transpose(image)
                # a palette may hold transparency, which only RGBA takes over
                return (upright.convert("RGBA") if upright.mode == "P" else upright).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise EvaluationError(
                f"{self.where}: the image in row {self.row} (counting from 0) cannot be read: "
                f"{_reason(error, self.content)}; repair it or leave it out"
            ) from error


def contents(table: Table, column: str) -> tuple[bytes, ...]:
    """[n] encoded images, undecoded.

    The column is one of `datasets`' images, or holds bytes, or the names of files: absolute, or relative to the
    data file. Raises EvaluationError that names the row where there is no image.
    """
    from datasets import Image

    rows = table.rows
    if isinstance(rows.features[column], Image):
        rows = rows.cast_column(column, Image(decode=False))
    return tuple(_content(value, row, table, column) for row, value in enumerate(rows[column]))


def _content(value: Any, row: int, table: Table, column: str) -> bytes:
    where = f"{table.where(column)}: row {row} (counting from 0)"
    content = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(content, str):
        content, path = None, content
    if isinstance(content, bytes) and content:
        return content
    if not path:
        held = "no image" if value is None or content in (None, b"") else f"{type(value).__name__}, not an image"
        raise EvaluationError(f"{where} holds {held}; fill it, leave the row out, or say `columns: {{image: ...}}`")
    file = Path(path)
    if not file.is_absolute():
        if table.folder is None:
            raise EvaluationError(
                f"{where} names a file, which only a dataset on this disk can; use a column of images"
            )
        file = table.folder / file
    try:
        return file.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{where}: {path}: {error.strerror}; repair the name or leave the row out") from error


def _reason(error: Exception, content: bytes) -> str:
    """PIL's words without the address of our buffer."""
    said = str(error)
    return f"its {len(content):,} bytes are no image that PIL knows" if "cannot identify" in said else said
