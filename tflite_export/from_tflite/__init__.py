"""What `make_trainable` needs beside the compiler: reading a bare .tflite, choosing what trains, and references to hold
the written file against where there is no Keras model."""
