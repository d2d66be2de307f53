"""LABELS and SCORES -> joined -> metrics -> report; knows of no model."""
