"""ECR: the images that definitions name exist."""
