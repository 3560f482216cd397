"""Python runs this at the start of the harness's workers and dispatchers, as their PYTHONPATH says.

It sets the process's clock wrong, or takes one protection out of it; the product knows of neither.
"""

import os
import sys
import traceback


def _change() -> None:
    if offset := float(os.environ.get("CHAOS_CLOCK_OFFSET", "0")):
        import wrong_clock

        wrong_clock.shift(offset)
    if name := os.environ.get("CHAOS_MUTATION"):
        import mutations
        import tested

        (mutations.MUTATIONS | tested.TESTED)[name].apply()


try:
    _change()
except BaseException:
    # Python would go on without the change, and what is to notice it would notice nothing.
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(70)
