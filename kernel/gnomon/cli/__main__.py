"""`python -m gnomon.cli`, where the script `gnomon` is not on the path."""

from gnomon.cli import main

main(prog_name="gnomon")
