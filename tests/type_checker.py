"""How types are checked while the tests run."""

from beartype import BeartypeConf, beartype

# Where a float is asked for, an int will do, as Python's typing has it (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
