"""`Program` <-> .tflite, by way of the schema that ships with ai-edge-litert.

Two things of the file never appear in a `Graph`: resource handles (VAR_HANDLE) and the CALL_ONCE of the shared
initialisation subgraph. `write` puts them in, `read` takes them out. Every signature begins with that CALL_ONCE:
a restored state is then never wiped by the first run of another signature.

What `read` gives is whole and in order; `checked`, for files that nobody vouches for, also holds every operator against
its operands.
"""

from tflite_export.flatbuffer.checked import checked
from tflite_export.flatbuffer.reader import read
from tflite_export.flatbuffer.writer import write

__all__ = ["checked", "read", "write"]
