"""The trial of the containers: the production images built, the compose file up, nights played in it, and failures.

The production package does not know it. It runs on the machine of the Docker engine: `make containers-trial`.
"""
