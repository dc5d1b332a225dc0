"""Tuning: PostgreSQL's settings for memory and parallel work, derived from the machine that it runs on.

The embedded server starts with them; `kkbc postgres-settings` writes them out for a server of one's own.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

MB = 1 << 20
GB = 1 << 30
# Containers have 64 MB here unless told otherwise; parallel hash joins of large tables need more, or fail.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (the kernel's, not a file of ours)
SHARED_MEMORY_NEEDED = 512 * MB


@dataclass(frozen=True)
class Machine:
    """What PostgreSQL may use: memory in bytes, cores, and whether the other parts of the platform run there too."""

    memory: int
    cores: int
    shared: bool = False
    parallel_memory: int = GB

    @classmethod
    def here(cls) -> "Machine":
        """This machine, with Airflow and the pipeline on it; inside a container, what the container may use."""
        cores = len(os.sched_getaffinity(0))
        parallel = shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else 0
        return cls(min(psutil.virtual_memory().total, _limit_of_container()), cores, True, parallel)


def derive(machine: Machine) -> Mapping[str, str]:
    """Settings as in postgresql.conf.

    A quarter of the memory is PostgreSQL's own cache, an eighth on a machine that is shared. A night's build has two
    sessions with a few sorts and hashes each, readers have many small ones; work_mem is for both.
    """
    cache = machine.memory // (8 if machine.shared else 4)
    known = machine.memory // 2 if machine.shared else machine.memory // 4 * 3
    parallel = max(2, machine.cores // 2) if machine.parallel_memory >= SHARED_MEMORY_NEEDED else 0
    return {
        "shared_buffers": _mb(cache, 128 * MB, 16 * GB),
        "effective_cache_size": _mb(known, 512 * MB),
        "work_mem": _mb(machine.memory // 256, 16 * MB, 256 * MB),
        "maintenance_work_mem": _mb(machine.memory // 64, 64 * MB, GB),
        "max_parallel_workers_per_gather": str(min(parallel, 8)),
        "max_parallel_maintenance_workers": str(min(max(2, machine.cores // 2), 8)),
        "max_worker_processes": str(max(8, machine.cores)),
    }


def _mb(size: int, least: int, most: int | None = None) -> str:
    """A size as PostgreSQL reads it, in whole megabytes within bounds."""
    bounded = max(size, least) if most is None else min(max(size, least), most)
    return f"'{bounded // MB}MB'"


def _limit_of_container() -> int:
    """The memory that this control group may use; of the host when there is no limit."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            return int(text)
    return psutil.virtual_memory().total
