"""Pretrained networks out of Python packages, for machines that reach a package index but no hub."""
