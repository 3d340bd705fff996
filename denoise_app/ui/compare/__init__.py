"""The Compare tab and the Loss Lab."""
