"""Rights of persons (UU 27/2022): what is held of one, who looked, and holding one out of the marts."""
