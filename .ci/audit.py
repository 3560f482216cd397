"""Looks the pinned dependencies up in the database of known vulnerabilities, with pip-audit.

Exits 1 where one is known. A database that cannot be asked fails nothing, as what is in the tree
is no worse for it; but it is said loudly, because pip-audit itself calls that "none found".
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
LONGEST_S = 120


def main() -> int:
    """Audit, print what was found, and return the exit code."""
    command = [str(BIN / "pip-audit"), "--requirement", "constraints.txt", "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--timeout", "10"]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LONGEST_S
        )
        found = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return warn(f"pip-audit was not done after {LONGEST_S} s")
    except (ValueError, KeyError, TypeError):
        return warn((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    return report(found)


def report(found: list[dict[str, Any]]) -> int:
    """Print what is known of each dependency and return the exit code."""
    skipped = [row["name"] for row in found if "skip_reason" in row]
    known = [(row, vulnerability) for row in found for vulnerability in row.get("vulns", [])]
    for row, vulnerability in known:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{row['name']} {row['version']}: {vulnerability['id']}, fixed in {fixed}")
    if skipped:
        warn(f"the database that answered does not know {len(skipped)} of {len(found)} packages")
    elif not known:
        print(f"audit: no vulnerability is known of {len(found)} packages")
    return 1 if known else 0


def warn(reason: str) -> int:
    """Say that nothing can be said."""
    line = f"WARNING: dependencies were NOT audited: {reason}"
    frame = "=" * 100
    print(f"\n{frame}\n{line}\n{frame}\n", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
