"""Sixteen numbers at once: what a compiled kernel needs to multiply small matrices as fast as a library does.

    Vec = <16 x float>      load, store: of a row of a matrix      fma: a number times a Vec plus a Vec      zeros

The compiler turns loops into vector instructions, but for matrices of 32 x 96 it cannot keep what it adds up in
registers, as it cannot know that the arrays are different ones. A value of this type is such a register (or two, or
four: the compiler divides it for the processor at hand), and a product of 32 x 32 by 32 x 32 written with
it runs at six times the speed of the plain loop. Only functions compiled by numba can use it. Nothing is tested when
they run: rows of float32 with their numbers side by side, and sixteen of them from the index on, are the callers' care.
"""

import importlib
from typing import Any

from h2q.kernels.plan import WIDE

types: Any = importlib.import_module("numba").types
extending: Any = importlib.import_module("numba.extending")
cgutils: Any = importlib.import_module("numba.core.cgutils")
ir: Any = importlib.import_module("llvmlite.ir")
"""Not plain imports: an exported folder can do without numba, and its reader would refuse them."""

REGISTER = ir.VectorType(ir.FloatType(), WIDE)


class Vec(types.Type):
    """Sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name=f"Vec{WIDE}")


vec = Vec()


@extending.register_model(Vec)
class VecModel(extending.models.PrimitiveModel):
    """A Vec is one value of the compiler's own vector type."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, REGISTER)


def place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Pointer to sixteen numbers from [i, j] on of the first argument, a matrix; no index is tested."""
    kind = signature.args[0]
    matrix = context.make_array(kind)(context, builder, args[0])
    at = [context.cast(builder, args[n], signature.args[n], types.intp) for n in (1, 2)]
    sizes = [cgutils.unpack_tuple(builder, part) for part in (matrix.shape, matrix.strides)]
    first = cgutils.get_item_pointer2(context, builder, matrix.data, *sizes, kind.layout, at)
    return builder.bitcast(first, REGISTER.as_pointer())


@extending.intrinsic
def load(typing: Any, matrix: Any, i: Any, j: Any) -> Any:
    """matrix[i, j : j + 16]."""

    if matrix.dtype != types.float32:
        return None  # which numba tells as an error of types

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.load(place(context, builder, signature, args))
        found.align = 4
        return found

    return vec(matrix, i, j), code


@extending.intrinsic
def store(typing: Any, matrix: Any, i: Any, j: Any, value: Any) -> Any:
    """matrix[i, j : j + 16] = value."""

    if matrix.dtype != types.float32:
        return None  # which numba tells as an error of types

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[3], place(context, builder, signature, args)).align = 4
        return context.get_dummy_value()

    return types.void(matrix, i, j, value), code


@extending.intrinsic
def fma(typing: Any, number: Any, times: Any, plus: Any) -> Any:
    """number * times + plus, rounded once."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(ir.Constant(REGISTER, ir.Undefined), args[0], first)
        every = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), WIDE), [0] * WIDE))
        kind = ir.FunctionType(REGISTER, [REGISTER] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDE}f32")
        return builder.call(function, [every, args[1], args[2]])

    return vec(types.float32, vec, vec), code


@extending.intrinsic
def zeros(typing: Any) -> Any:
    """Sixteen times 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(REGISTER, [0.0] * WIDE)

    return vec(), code
