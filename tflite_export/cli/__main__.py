"""`python -m tflite_export.cli <verb> …`: the command `tinytl`, where it is not on the path."""

import sys

from tflite_export.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
