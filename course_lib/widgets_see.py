"""The interactive pieces of lessons 00 to 02."""
