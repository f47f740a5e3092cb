"""Compiles training steps into TFLite files."""
