"""Arithmetic on GPUs, by torch: the same sums in the same order as on the processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from threading import local
from typing import Any

import ml_dtypes
import numpy as np
import torch

from hf_soups.engine.blocks import BLOCK, SECTION
from hf_soups.engine.desk import Desk
from hf_soups.engine.host import Host, narrow
from hf_soups.engine.mixture import Mixture
from hf_soups.engine.torch_page import InOrder, TorchDraws
from hf_soups.errors import SoupError
from hf_soups.kernels import Packed

WORKERS = 3  # threads a GPU: one reads while another copies and a third computes
LARGEST = 1 << 24  # elements of all rows in work in one thread: copies of tens of MB use the whole bus
WORK = 128  # bytes on the GPU for each of them: a page's intermediate doubles, or the words of random numbers

TYPES = {
    np.dtype(np.float64): torch.float64,
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float16): torch.float16,
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
}


class TorchDevice:
    """One or several GPUs of a kind; each worker thread belongs to one of them, and has a stream of its own there.

    Rows cross the bus as they are stored and the result as it will be stored. While one thread waits for its stream,
    others read, copy and compute: that is all the overlap there is, and all it takes. No operation here lets the
    library choose an order of summation, so bits depend on neither pieces nor threads nor the number of GPUs.

    What gains nothing there is left to the processors, with their bits: one row alone, methods over whole rows and
    matrices (whose pages may use NumPy), and 8-bit rounding. MPS also leaves them whatever takes float64, which it
    lacks: inner products and outputs of 32 bits or more.

    memory: bytes that may be used on each device.
    """

    def __init__(self, *devices: torch.device, memory: int = LARGEST * WORK * WORKERS) -> None:
        self._devices = devices
        self._memory = memory
        self._turn = count()
        self._mine = local()
        self._host = Host()
        self._double = devices[0].type != "mps"
        self.name = _name(devices)
        self.threads = WORKERS * len(devices) if self._double else 1  # torch on MPS has one queue and no streams

    def desk(self) -> Desk:
        """Memory for one thread, pinned where the device is CUDA."""
        return PinnedDesk() if self._devices[0].type == "cuda" else Desk()

    def step(self, rows: int) -> int:
        """As many elements as memory allows, in whole pages."""
        return max(1 << 12, min(LARGEST, self._memory // WORKERS // WORK) // max(1, rows) // 4096 * 4096)

    def span(self, rows: int) -> int:
        """Up to a section at once, since a block alone is too little work for a GPU."""
        return max(1, min(SECTION, self.step(rows)) // BLOCK) * BLOCK if self._double else self._host.span(rows)

    def combine(
        self,
        rows: Sequence[np.ndarray],
        coefficients: np.ndarray,
        out: np.ndarray,
        wide: bool,
        product: Packed | None = None,
        start: int = 0,
    ) -> bool:
        """As `Host.combine`, the same bits."""
        if product is not None or len(rows) == 1 or (wide and not self._double):
            return self._host.combine(rows, coefficients, out, wide, product, start)
        if out.dtype.itemsize == 1:
            single = np.empty(len(out), np.float32)
            return self.combine(rows, coefficients, single, wide) and narrow(single, out)
        work = torch.float64 if wide else torch.float32
        factors = coefficients.astype(np.float64 if wide else np.float32).tolist()
        with self._stream() as device:
            total = None
            good = torch.ones((), dtype=torch.bool, device=device)
            for row, factor in zip(rows, factors, strict=True):
                values = _sent(row, device).to(work)
                if factor == 0:
                    good &= torch.isfinite(values).all()
                    continue
                term = values * factor  # a step of its own: fused with the sum it would not be rounded
                total = term if total is None else total.add_(term)
            return _store(torch.zeros(len(out), dtype=work, device=device) if total is None else total, out, good)

    def products(self, rows: Sequence[np.ndarray], based: bool = False) -> np.ndarray:
        """As `Host.products`, but each block is summed by halves, which takes 16 steps instead of thousands."""
        if not self._double:
            return self._host.products(rows, based)
        n, size = len(rows), len(rows[0])
        blocks = max(1, -(-size // BLOCK))
        width = BLOCK if blocks > 1 else 1 << max(0, size - 1).bit_length()  # zeros beyond would add nothing
        with self._stream() as device:
            numbers = torch.zeros((n, blocks * width), dtype=torch.float64, device=device)
            for row, values in zip(rows, numbers, strict=True):
                values[:size] = _sent(row, device)
            numbers[1:] -= numbers[0]
            numbers = numbers.reshape(n, blocks, width)
            result = torch.empty((blocks, n, n), dtype=torch.float64, device=device)
            for i in range(n):
                sums = numbers[i] * numbers[i:]  # [n - i, blocks, width]
                while (half := sums.shape[-1] // 2) > 0:
                    sums = sums[..., :half] + sums[..., half:]
                result[:, i, i:] = result[:, i:, i] = sums[..., 0].T
            return result.cpu().numpy()

    def tally(
        self, base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """As `Host.tally`, the same numbers; only what lies inside the brackets comes back."""
        single = low.itemsize == 4
        if not (single or self._double):
            return self._host.tally(base, rows, low, high)
        work, stored = (torch.float32, torch.int32) if single else (torch.float64, torch.int64)
        with self._stream() as device:
            good = torch.ones((), dtype=torch.bool, device=device)
            origin = None if base is None else _sent(base, device).to(work)
            if origin is not None:
                good &= torch.isfinite(origin).all()
            above, inside = [], []
            for row, bottom, top in zip(rows, low.tolist(), high.tolist(), strict=True):
                values = _sent(row, device).to(work)
                magnitude = (values if origin is None else values - origin).abs()
                good &= torch.isfinite(magnitude).all()
                bits = magnitude.view(stored)  # of what is not negative: signed and unsigned are the same
                above.append(torch.count_nonzero(bits >= top))
                inside.append((bits[(bits >= bottom) & (bits < top)] - bottom).cpu().numpy())
            found = np.array([len(i) for i in inside], np.int64)
            kept = np.empty((len(rows), max(found)), low.dtype)
            for place, offsets in zip(kept, inside, strict=True):
                place[: len(offsets)] = offsets.view(low.dtype)
            return torch.stack(above).cpu().numpy().astype(np.int64), found, kept, bool(good)

    def mix(
        self,
        mixture: Mixture,
        base: np.ndarray | None,
        rows: Sequence[np.ndarray],
        start: int,
        out: np.ndarray,
        wide: bool,
    ) -> bool:
        """The method's page, called with torch's tensors."""
        if wide and not self._double:
            return self._host.mix(mixture, base, rows, start, out, wide)
        if out.dtype.itemsize == 1:
            single = np.empty(len(out), np.float32)
            return self.mix(mixture, base, rows, start, single, wide) and narrow(single, out)
        dtype = np.dtype(np.float64 if wide else np.float32)
        with self._stream() as device:
            numbers = torch.empty((len(rows), len(out)), dtype=TYPES[dtype], device=device)  # [n, d]
            for row, values in zip(rows, numbers, strict=True):
                values.copy_(_sent(row, device))
            good = torch.isfinite(numbers).all()
            origin = None
            if base is not None:
                origin = _sent(base, device).to(TYPES[dtype])
                good &= torch.isfinite(origin).all()
            if not good:
                return False
            added_back = origin if mixture.method.space == "deltas" else None
            if added_back is not None:
                numbers -= added_back
            given = {k: _given(v, device) for k, v in mixture.given(dtype, start, start + len(out)).items()}
            if mixture.method.sees_base:
                given["base"] = origin
            if mixture.method.draws:
                given["rng"] = TorchDraws(mixture.keys, mixture.size, start, start + len(out), TYPES[dtype], device)
            answer = _ask(mixture, numbers, given).to(device, TYPES[dtype]).reshape(-1)
            return _store(answer if added_back is None else added_back + answer, out, good)

    def vectors(
        self, mixture: Mixture, base: np.ndarray | None, rows: Sequence[np.ndarray], start: int, wide: bool
    ) -> np.ndarray | None:
        """As `Host.vectors`: on the processors."""
        return self._host.vectors(mixture, base, rows, start, wide)

    @contextmanager
    def _stream(self) -> Iterator[torch.device]:
        """This thread's device; what is begun inside is done at the end, so that its buffers may be used again."""
        if not hasattr(self._mine, "device"):
            self._mine.device = self._devices[next(self._turn) % len(self._devices)]
            self._mine.stream = torch.cuda.Stream(self._mine.device) if self._mine.device.type == "cuda" else None
        device, stream = self._mine.device, self._mine.stream
        try:
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                yield device
                if stream is not None:
                    stream.synchronize()
        except torch.OutOfMemoryError as error:
            raise SoupError(
                f"{device}: its memory is full, {error}; free some, or take another device (--device cpu)"
            ) from error


class PinnedDesk(Desk):
    """Buffers that a GPU copies from and to while this machine's processors go on."""

    def allocate(self, size: int) -> np.ndarray:
        """New pinned memory."""
        found: np.ndarray = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
        return found


def choose(text: str, room: int) -> TorchDevice | None:
    """The device called so; None if it was torch's to choose (auto) and no GPU has `room` bytes free.

    Raises SoupError if this machine has none of that name.
    """
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise SoupError(f"device mps: not on this machine, which has {_existing()}")
        return TorchDevice(torch.device("mps"), memory=_free()["mps"] // 2)
    if not torch.cuda.is_available():
        if text == "auto":
            return None
        why = "" if torch.backends.cuda.is_built() else f"; this torch, {torch.__version__}, was built without CUDA"
        raise SoupError(f"device {text}: no CUDA GPU on this machine, which has {_existing()}{why}")
    _, _, number = text.partition(":")
    if number and int(number) >= torch.cuda.device_count():
        raise SoupError(f"device {text}: not on this machine, which has {_existing()}")
    free = {i: size for i, size in _free().items() if isinstance(i, int)}
    wanted = [int(number)] if number else list(free)
    if text == "auto":
        wanted = [i for i in wanted if free[i] >= room]
        if not wanted:
            return None
    if not wanted or any(i not in free for i in wanted):
        raise SoupError(f"device {text}: there, but it cannot be used; see nvidia-smi for what it does")
    devices = [torch.device("cuda", i) for i in wanted]
    return TorchDevice(*devices, memory=min(free[i] for i in wanted) // 2)


def _free() -> dict[int | str, int]:
    """Bytes that are free on each GPU, by Accelerate's map; GPUs that do not answer are missing."""
    from accelerate.utils import get_max_memory

    found: dict[int | str, int] = get_max_memory()
    return found


def _existing() -> str:
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ", ".join([*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"])


def _name(devices: Sequence[torch.device]) -> str:
    """`cuda (NVIDIA H200)`: kind and model, not number and count, which decide no bits."""
    if devices[0].type != "cuda":
        return f"{devices[0].type} (torch)"
    return f"cuda ({', '.join(sorted({torch.cuda.get_device_name(d) for d in devices}))})"


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The same memory."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _sent(row: np.ndarray, device: torch.device) -> torch.Tensor:
    """A row on the device, as it is stored, once the stream gets there."""
    writable = row if row.flags.writeable else row.copy()  # torch warns of others
    if device.type == "mps" and writable.dtype == np.float64:
        return _tensor(writable.astype(np.float32)).to(device)
    return _tensor(writable).to(device, non_blocking=device.type == "cuda")


def _store(values: torch.Tensor, out: np.ndarray, good: torch.Tensor) -> bool:
    """Round once and bring the result back; False if it, or what `good` tells of, is not finite."""
    rounded = values.to(TYPES[out.dtype])
    _tensor(out).copy_(rounded, non_blocking=rounded.device.type == "cuda")
    return bool(good & torch.isfinite(rounded).all())


def _given(value: Any, device: torch.device) -> Any:
    return torch.from_numpy(np.ascontiguousarray(value)).to(device) if isinstance(value, np.ndarray) else value


def _ask(mixture: Mixture, numbers: torch.Tensor, given: dict[str, Any]) -> torch.Tensor:
    """The page's answer, sums over ingredients in their order."""
    try:
        with InOrder():
            return torch.as_tensor(mixture.call(mixture.method.function, numbers, **given))
    except TypeError as error:
        raise SoupError(
            f"{mixture.name}: {mixture.method.name}: does not work on torch tensors ({error}); write it against "
            "array_api_compat.array_namespace, or use --device cpu"
        ) from error
