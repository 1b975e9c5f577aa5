"""SQS and SNS, which moto answers: their CloudFormation resources."""
