"""Test a checkpoint: `python tools/test.py CONFIG CHECKPOINT`; the same as `ltcls test`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ltcls.cli import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
