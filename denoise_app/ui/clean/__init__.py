"""The Clean tab."""
