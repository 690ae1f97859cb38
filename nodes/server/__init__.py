"""HTTP routes, the users behind requests, temporary images, and status texts in the browser."""
