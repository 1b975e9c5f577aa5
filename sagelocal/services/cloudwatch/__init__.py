"""CloudWatch on one machine: the metrics of endpoints, and alarms that are evaluated on a clock that can run faster."""
