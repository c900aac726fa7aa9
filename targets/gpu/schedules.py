"""TVM's ready-made GPU schedules (dlight), each behind a guard: a rule that fails leaves the kernel to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..tvm.lazy import FAILURES, import_tvm


@dataclass(eq=False)
class _Guarded:
    """A schedule rule that has no opinion where it would fail (GEMV does on outputs that are no multiple of its tile).

    `failed` counts the kernels.
    """

    rule: Any
    failed: int = 0

    def apply(self, function: Any, target: Any, tunable: bool) -> Any:
        """As `ScheduleRule.apply` of TVM: the schedules, or None."""
        try:
            return self.rule.apply(function, target, tunable)
        except FAILURES:
            self.failed += 1
            return None


def scheduled(module: Any, target: Any) -> tuple[Any, Mapping[str, int]]:
    """The Relax module with its operators fused and scheduled for the GPU, and by rule the number of kernels that it
    failed on: the next rule that fits took them, in the last place one thread per element."""
    tvm = import_tvm()
    from tvm.s_tir import dlight

    gpu, relax = dlight.gpu, tvm.relax.transform
    rules = [_Guarded(rule()) for rule in (gpu.Matmul, gpu.GEMV, gpu.Reduction, gpu.GeneralReduction, gpu.Fallback)]
    passes = [
        relax.LegalizeOps(),
        relax.AnnotateTIROpPattern(),
        relax.FoldConstant(),
        relax.FuseOps(),
        relax.FuseTIR(),
        dlight.ApplyDefaultSchedule(*rules),
    ]
    with target:
        done = tvm.transform.Sequential(passes)(module)
    return done, {type(each.rule).__name__: each.failed for each in rules if each.failed}
