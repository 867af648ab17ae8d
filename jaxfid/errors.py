"""What can go wrong on purpose; the command line turns each into its exit code."""


class JaxfidError(Exception):
    """Base of every error that jaxfid raises deliberately. Exit code 1."""

    exit_code = 1


class InputError(JaxfidError, ValueError):
    """An argument, image, array or file is not what it should be. Exit code 2."""

    exit_code = 2


class WeightsUnavailableError(JaxfidError):
    """The network's weights are neither here nor to be fetched. Exit code 3."""

    exit_code = 3
