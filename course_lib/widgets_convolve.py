"""The interactive pieces of lessons 03 to 05."""
