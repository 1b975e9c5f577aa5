"""CloudFormation: a template resolved, its resources made in the order of their dependencies, undone when one fails."""
