"""The loops as numba compiles them: this package is imported on a machine once, to make machine code of them."""

from __future__ import annotations

from inspect import signature
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import cfunc, types

from hf_soups.kernels.compiled import chance, election, inner, magnitudes, sums

TYPED = (sums.combine, sums.combine_with_product, magnitudes.tally, magnitudes.count, election.elect)
LOOPS: dict[str, Any] = {"products": inner.products, "bits": chance.bits} | {
    f"{make.__name__}_{work.__name__}": make(work) for make in TYPED for work in (np.float32, np.float64)
}

# what numba calls when nobody uses an array's memory any more: never here, where arrays only look at addresses
NOTHING_TO_FREE = "define void @NRT_MemInfo_call_dtor(ptr %memory) { ret void }"


def compile_loops(machine: Any) -> tuple[bytes, dict[str, tuple[str, int]]]:
    """An object file for a target machine, and each loop's symbol there and number of arguments.

    Each takes integers, addresses among them, and answers one; it calls nothing but the C library and allocates
    nothing. A symbol is called as numba calls functions: where to put the answer, where to put an exception
    (there is none), then the arguments.

    Raises ImportError if numba is one that needs an interpreter for them.
    """
    module = llvm.parse_assembly(NOTHING_TO_FREE)
    symbols = {}
    for name, loop in LOOPS.items():
        number = len(signature(loop).parameters)
        callback = cfunc(types.int64(*[types.int64] * number), error_model="numpy")(loop)
        module.link_in(llvm.parse_assembly(callback.inspect_llvm()))
        symbols[name] = callback.native_name.removeprefix("cfunc."), number
    wanted = [symbol for symbol, _ in symbols.values()]
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration and part.name not in wanted:
            part.linkage = "internal"  # so that what only an interpreter would call goes
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    unknown = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if unknown:  # LLVM would end the process for want of one
        raise ImportError(f"this numba compiles the loops with calls of {', '.join(unknown)}")
    return machine.emit_object(module), symbols
