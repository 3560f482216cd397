"""The kinds of simulator: one module for each, which writes its requests and reads the answers.

`kinds` chooses among them. Imported by whoever simulates or estimates; imports only the science.
"""
