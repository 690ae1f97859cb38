"""Every bar that the project has set itself, with the command that shows it: one run, one table."""
