"""The integer graph: types, definition of the arithmetic, and the reader of QDQ models."""
