"""Settings that must stand before any test module imports TensorFlow."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

from absl import flags

# Scripts, each of which defines flags of its own, are imported side by side here: the last definition holds.
flags.Flag.allow_override = property(lambda flag: True, lambda flag, value: None)

# A shell starts what it puts in the background with Ctrl-C ignored, and nohup ignores the end of a session; the
# processes of the tests would inherit both.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
