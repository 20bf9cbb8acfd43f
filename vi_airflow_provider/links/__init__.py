"""Links from a task to Vi's web application."""
