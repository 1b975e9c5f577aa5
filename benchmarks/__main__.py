"""`make bench`: every script, one after another."""

from benchmarks import commands, engine, main_job

for script in (commands, engine, main_job):
    script.main()
