"""The command line: how each command is called, in the module of its name; rendering in `terminal`.

What a command does is in the module of the same name in `actions`, which is imported once the
command is called. So help and completion come at once: a module that says how a command is called
imports nothing that takes long, such as SQLAlchemy, pydantic or numpy.
"""
