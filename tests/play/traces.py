"""What processes leave behind."""

import os
from pathlib import Path

import psutil


def traces(folder: Path) -> list[str]:
    """Every other process that has something of `folder` in its arguments, working folder or open files."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), process.cwd(), *(file.path for file in process.open_files())]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder) in text for text in texts):
            found.append(" ".join(process.cmdline()))
    return found
