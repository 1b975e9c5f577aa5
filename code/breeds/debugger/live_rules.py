"""Rules that watch a training while it runs, and end it as soon as one of them finds something."""

from typing import Any

from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.debugger import rule_parameters
from breeds.debugger.hook import DebuggerHook
from contract import rules


def watch(debugger: DebuggerHook, stop_on: str, parameters: str, world: World) -> None:
    """Apply the rules `stop_on` to what `debugger` has saved, at the end of each epoch.

    `stop_on`: names with commas between, or `none`.
    `parameters`: Rule.parameter=value with commas between, or `none`. Raises InputError for a rule or a parameter that
    is not known, and for a value out of place. Without a hook there is nothing to apply them to: said once.
    """
    names = [name.strip() for name in stop_on.split(",") if name.strip() not in ("", rules.NOTHING)]
    for name in names:
        if name not in rules.RULES:
            raise InputError(f"stop-on-issue names {name!r}, which is no rule.", f"Rules: {', '.join(rules.RULES)}.")
    by_rule = rule_parameters.parse(parameters)
    if not names:
        return
    if world.is_main and not debugger.is_on:
        print("stop-on-issue has no effect: the Debugger hook is off, so no rule has tensors to judge.", flush=True)
    debugger.at_epoch_end = LiveRules(names, by_rule, debugger, world).check


class LiveRules:
    """Rank 0 has the tensors and judges; all ranks end together."""

    def __init__(self, names: list[str], parameters: rules.ByRule, debugger: DebuggerHook, world: World):
        self.names, self.parameters, self.debugger, self.world = names, parameters, debugger, world
        self._trial: Any = None
        self._epochs = 0

    def check(self, epoch: int, last_epoch: int) -> None:
        """Raises InputError, with the finding, if a rule has one after `epoch`."""
        self._epochs += 1
        issue = self.world.broadcast_from_main(self._issue() if self.world.is_main else None)
        if issue:
            name, text, advice = issue
            raise InputError(
                f"Training was stopped after epoch {epoch} of {last_epoch}: {name}: {text}.",
                f"{advice} stop-on-issue asked for this; {last_epoch - epoch} epochs were not run.",
            )

    def _issue(self) -> tuple[str, str, str] | None:
        """(rule, finding, advice) of the first finding. Trouble with the rules ends them, not the training."""
        if not self.debugger.is_on or not self.names:
            return None
        try:
            return self._found()
        except Exception as error:
            print(f"stop-on-issue switched off: {error!r}. Training goes on without it.", flush=True)
            self.names = []
            return None

    def _found(self) -> tuple[str, str, str] | None:
        from breeds.debugger.rules import RULES, NoUsableData, open_trial

        self.debugger.end_phase()
        for name in self.names:
            rule = RULES[name]
            if self._epochs < rule.live_from:
                continue
            try:
                # A rule's own parameters for an unfinished training override those given for its end.
                parameters = {**self.parameters.get(name, {}), **rule.live_parameters}
                findings = rule(self._refreshed(open_trial), **parameters).findings()
            except NoUsableData:
                continue  # not saved yet; if it never is, the Debug step says so
            if findings:
                return name, findings[0].text, findings[0].advice
        return None

    def _refreshed(self, open_trial: Any) -> Any:
        if self._trial is None:
            self._trial = open_trial(self.debugger.directory)
        else:
            self._trial.refresh_data()
        return self._trial
