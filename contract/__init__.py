"""What two rooms must agree on, written once, with the standard library alone.

It travels beside breeds/ in the code bundle and beside the modules of each Lambda function, so it imports nothing else.
"""

from collections.abc import Callable

# A room's own exception class, called with a headline and a way out.
Refuse = Callable[[str, str], Exception]
