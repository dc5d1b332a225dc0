"""Writes production.env: the example with every empty value filled at random, mode 0600. Never overwrites one.

python docker/make_env.py [FILE]
"""

import base64
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def filled(line: str) -> str:
    """The line of the example, with a secret where it has none."""
    name, equals, value = line.partition("=")
    if not equals or line.startswith("#") or value:
        return line
    if name == "AIRFLOW_FERNET_KEY":  # 32 bytes in URL-safe base64
        return f"{name}={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"
    return f"{name}={secrets.token_hex(24)}"


def main() -> None:
    """Exit status 2 when the file is there already: its passwords are those that the databases know."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "production.env"
    lines = (FOLDER / "production.env.example").read_text(encoding="utf-8").splitlines()
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{target} is there already, left as it is: move it away to make a new one", file=sys.stderr)
        sys.exit(2)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(map(filled, lines)) + "\n")
    print(f"{target} written")


if __name__ == "__main__":
    main()
