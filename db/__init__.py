"""The database: tables, and queries that take and return typed rows.

SQLAlchemy only. Of the library it imports the science, the stages and the errors.
"""
