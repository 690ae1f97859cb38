"""HTTP routes, the users who send requests, temporary images, and status texts in the browser."""
