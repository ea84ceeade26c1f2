"""serve.py: a page in the browser that shows what a trained network says of an image, or of a row of a table."""
