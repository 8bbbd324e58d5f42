"""The loops as functions of this machine: compiled by numba once, loaded without it from then on."""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from hf_soups.kernels import kept

LENGTH = struct.Struct("<q")  # of the table of symbols, which comes before the object file


def load_loops() -> Mapping[str, Loop]:
    """Loop by name.

    Raises ImportError if numba is needed and not to be had.
    """
    machine, name = _here()
    content = kept.read(name)
    if content is None:
        from hf_soups.kernels.compiled import compile_loops

        code, symbols = compile_loops(machine)
        table = json.dumps(symbols).encode()
        content = LENGTH.pack(len(table)) + table + code
        kept.write(name, content)
    begin = LENGTH.size + LENGTH.unpack_from(content)[0]
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(content[begin:]))
    engine.finalize_object()
    symbols = json.loads(content[LENGTH.size : begin])
    return {name: Loop(engine, symbol, number) for name, (symbol, number) in symbols.items()}


def are_kept() -> bool:
    """Whether the machine code is there; without it `load_loops` compiles first, for about ten seconds."""
    return kept.read(_here()[1]) is not None


def _here() -> tuple[llvm.TargetMachine, str]:
    """This machine, and the name of the file with its code."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    relocation = "static" if target.name.startswith("x86") else "default"  # what LLVM's loader can place there
    machine = target.create_target_machine(cpu, features, 3, relocation, "jitdefault", jit=True)
    return machine, f"loops-{_key(machine.triple, cpu, features)}.bin"


def _key(*machine: str) -> str:
    """Of everything that decides the machine code: our source, the compilers, the processor."""
    state = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        state.update(hashlib.sha256(file.read_bytes()).digest())
    state.update(json.dumps([*machine, version("numba"), version("llvmlite")]).encode())
    return state.hexdigest()[:32]


class Loop:
    """One function of the machine code; see `compiled.compile_loops`."""

    def __init__(self, engine: llvm.ExecutionEngine, symbol: str, number: int) -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * number)
        self._function = kind(engine.get_function_address(symbol))
        self._engine = engine  # the code lives as long as it does

    def __call__(self, *arguments: int | np.ndarray) -> int:
        """Arrays are given by address, contiguous; other threads run meanwhile."""
        answer = ctypes.c_int64()
        place = ctypes.addressof(answer)
        self._function(place, None, *[a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments])
        return answer.value
