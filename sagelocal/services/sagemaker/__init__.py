"""SageMaker: pipelines and their execution, jobs, hosting, the model registry."""
