"""SageMaker on one machine: a server that speaks the AWS wire protocol and really runs what it is asked to run."""

VERSION = "0.1.0"
