"""What a command says when it cannot do what it was asked to."""


class UserError(Exception):
    """Something that the user can put right: a headline, and the way out."""

    def __init__(self, headline: str, way_out: str):
        super().__init__(headline)
        self.headline, self.way_out = headline, way_out
