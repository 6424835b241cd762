"""The recipe of the embedded data set: render people, photograph them, train a forger, forge, assemble."""
