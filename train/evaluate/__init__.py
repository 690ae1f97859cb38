"""Measures what was trained: tables, pictures, and the judge that reads attributes in images."""
