"""What a command says when it cannot go on, and how it exits."""


class InputError(Exception):
    """Something the user gave is wrong; the message names it and what would be right. Exit 2."""
