"""Answers of labelled examples, one file each: class, number, label per position, line of text.

Each class is one half of a task; the other half reads images, proteins or speech, see labelled.py.
"""
