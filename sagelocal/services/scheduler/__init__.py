"""Schedules as EventBridge Scheduler has them: expressions, and the loop that fires what is due."""
