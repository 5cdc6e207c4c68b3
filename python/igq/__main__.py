"""`python -m igq` and the script `igq` of the wheel: the same program as the C++ build's, with the same exit codes."""

import signal
import sys


def main() -> int:
    from . import _igq

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as any program: an interrupt ends it, not a Python traceback
    return _igq.run_program(["igq", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
