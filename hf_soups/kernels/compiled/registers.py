"""Sums that stay in vector registers, in an order that is written down: the compiler may not reorder them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hf_soups.kernels.layout import LANES, ROWS, STRIP


@intrinsic
def add_products(typing_context: Any, a: Any, b: Any, steps: Any, lanes: Any) -> Any:
    """lanes[l] += a[LANES i + l] * b[LANES i + l] for i < steps, doubles; the sums stay in vector registers.

    The compiler may not reorder sums, so it does not vectorise them by itself; here the order is written down.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        a, b, lanes = (builder.inttoptr(arguments[i], ir.DoubleType().as_pointer()) for i in (0, 1, 3))
        begin = _load_vector(builder, lanes, vector, 8)

        def body(index: Any, totals: Sequence[Any]) -> list[Any]:
            offset = builder.mul(index, ir.Constant(ir.IntType(64), LANES))
            x = _load_vector(builder, builder.gep(a, [offset]), vector, 8)
            y = _load_vector(builder, builder.gep(b, [offset]), vector, 8)
            return [builder.fadd(totals[0], builder.fmul(x, y))]

        (total,) = _loop(builder, arguments[2], [begin], body)
        _store_vector(builder, total, lanes, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def rows_times(typing_context: Any, left: Any, right: Any, rank: Any, out: Any, stride: Any) -> Any:
    """out[k stride + c] = sum over r < rank, in order, of left[k rank + r] * right[STRIP r + c]; floats.

    Each product is added without being rounded first (a fused multiply-add). For ROWS rows k and STRIP columns c at
    once: their sums fill the vector registers, and each load serves several.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), STRIP)
        left, right, out = (builder.inttoptr(arguments[i], ir.FloatType().as_pointer()) for i in (0, 1, 3))
        rank, stride = arguments[2], arguments[4]
        same = ir.Constant(ir.VectorType(ir.IntType(32), STRIP), [0] * STRIP)
        nothing = ir.Constant(vector, ir.Undefined)
        step = ir.Constant(ir.IntType(64), STRIP)

        def body(index: Any, totals: Sequence[Any]) -> list[Any]:
            row = _load_vector(builder, builder.gep(right, [builder.mul(index, step)]), vector, 4)
            found = []
            for k, total in enumerate(totals):
                place = builder.add(builder.mul(rank, ir.Constant(ir.IntType(64), k)), index)
                factor = builder.load(builder.gep(left, [place]))
                one = builder.insert_element(nothing, factor, ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(one, nothing, same)
                found.append(_fused_multiply_add(builder, spread, row, total))
            return found

        zeros = [ir.Constant(vector, [0.0] * STRIP)] * ROWS
        for k, total in enumerate(_loop(builder, rank, zeros, body)):
            place = builder.mul(stride, ir.Constant(ir.IntType(64), k))
            _store_vector(builder, total, builder.gep(out, [place]), 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate


def _fused_multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float vectors, rounded once. Where the processor cannot, LLVM calls fmaf: the same bits, slowly."""
    kind = a.type
    name = f"llvm.fma.v{kind.count}f32"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


def _load_vector(builder: Any, pointer: Any, vector: Any, align: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = align
    return loaded


def _store_vector(builder: Any, value: Any, pointer: Any, align: int) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = align


def _loop(builder: Any, count: Any, begin: Sequence[Any], body: Any) -> list[Any]:
    """The values that `body(index, values)` leads to after `count` rounds."""
    before = builder.block
    test, inside, after = (builder.append_basic_block(name) for name in ("test", "inside", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    index, values = builder.phi(count.type), [builder.phi(b.type) for b in begin]
    index.add_incoming(ir.Constant(count.type, 0), before)
    for value, first in zip(values, begin, strict=True):
        value.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    following = body(index, values)
    index.add_incoming(builder.add(index, ir.Constant(count.type, 1)), builder.block)
    for value, next_value in zip(values, following, strict=True):
        value.add_incoming(next_value, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return values
