"""Functions from Graph to Graph."""
