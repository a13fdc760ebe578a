"""The size of a machine: from fly.toml's [[vm]] to the Machines API's guest.

Sizes are Fly.io's presets (https://fly.io/docs/about/pricing/#compute): a
preset first, then whatever else the section says on top of it.
"""

from __future__ import annotations

from deploy.flytoml.tables import Table, Wire, did_you_mean, said, shown

_SHARED_CPU_MB = 256
_PERFORMANCE_CPU_MB = 2048
_GPU_KINDS = {
    "a10": "a10",
    "a100-40gb": "a100-pcie-40gb",
    "a100-80gb": "a100-sxm4-80gb",
    "l40s": "l40s",
}
_DEFAULT_SIZE = "shared-cpu-1x"
_DEFAULT_GPU_SIZE = "performance-8x"
_LARGEST_MB = 2**31 - 1


def _presets() -> dict[str, Wire]:
    presets = {
        f"shared-cpu-{cpus}x": _cpu("shared", cpus, cpus * _SHARED_CPU_MB)
        for cpus in (1, 2, 4, 6, 8)
    }
    for cpus in (1, 2, 4, 6, 8, 10, 12, 14, 16):
        presets[f"performance-{cpus}x"] = _cpu("performance", cpus, cpus * _PERFORMANCE_CPU_MB)
    for size, kind in _GPU_KINDS.items():
        guest = _cpu("performance", 8, 16 * _PERFORMANCE_CPU_MB)
        presets[size] = {**guest, "gpus": 1, "gpu_kind": kind}
    return presets


def _cpu(kind: str, cpus: int, memory_mb: int) -> Wire:
    return {"cpu_kind": kind, "cpus": cpus, "memory_mb": memory_mb}


SIZES = _presets()


def read_guest(entry: Table, *, host_dedication_id: str | None = None) -> Wire:
    """The guest that one [[vm]] section asks for, whole: a preset and what is said on top."""
    size = entry.text("size")
    if size is not None and size not in SIZES:
        fix = did_you_mean(size, SIZES) or f"use one of {', '.join(SIZES)}"
        entry.problem("size", f"is {shown(size)}", fix)
    gpu_kind = entry.text("gpu_kind")
    memory_mb = entry.size("memory", kilo=1024, unit_bytes=2**20)
    preset = SIZES.get(size or (_DEFAULT_GPU_SIZE if gpu_kind else _DEFAULT_SIZE), {})
    on_top = said(
        memory_mb=entry.integer("memory_mb", at_least=1, at_most=_LARGEST_MB) or memory_mb,
        max_memory_mb=entry.integer("max_memory_mb", at_least=1, at_most=_LARGEST_MB),
        cpus=entry.integer("cpus", at_least=1, at_most=1024),
        cpu_kind=entry.text("cpu_kind", one_of=("shared", "performance")),
        gpus=entry.integer("gpus", at_most=1024) or None,
        gpu_kind=gpu_kind,
        kernel_args=entry.texts("kernel_args", or_one=True),
        host_dedication_id=entry.text("host_dedication_id") or host_dedication_id,
        persist_rootfs=entry.text("persist_rootfs", one_of=("never", "restart", "always")),
    )
    entry.end()
    return {**preset, **on_top}
