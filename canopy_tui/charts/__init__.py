"""The chart as pure functions: numbers in, glyphs and marks out. Knows no screen."""
