"""Train a config: `python tools/train.py CONFIG`; the same as `ltcls train CONFIG`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ltcls.cli import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
