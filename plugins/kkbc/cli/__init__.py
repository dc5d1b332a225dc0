"""The command line `kkbc`: a module for each group of commands; `application` puts them together."""
