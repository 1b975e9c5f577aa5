"""What a command tells its user when it cannot go on.

UserError            a headline and one sentence of what to do; the command ends with code 2
└── ParameterError   a pipeline parameter that does not exist, or a value out of its bounds
"""


class UserError(Exception):
    """Something the user can mend. `headline` names the thing and what is wrong, `way_out` says what to do."""

    def __init__(self, headline: str, way_out: str = ""):
        super().__init__(f"{headline} {way_out}".strip())
        self.headline = headline
        self.way_out = way_out


class ParameterError(UserError):
    """A pipeline parameter that does not exist, or a value that its type or bounds refuse."""
