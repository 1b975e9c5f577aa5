"""Application Auto Scaling that acts: policies and schedules that change a variant's instance count."""
