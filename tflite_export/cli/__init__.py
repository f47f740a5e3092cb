"""The command `tinytl`: one file per verb, imported when it is asked for. `main` runs them."""
