"""Writes what is new in the project's own folder: a branch's line, the files of a mart or a feed."""
