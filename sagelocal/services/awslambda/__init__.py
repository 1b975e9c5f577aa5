"""Lambda: functions, versions, aliases, queues, URLs, and the processes they run in."""
