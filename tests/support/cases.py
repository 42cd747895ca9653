"""Number of cases that tests with generated input try.

`FUZZ_CASES` asks for more than the hundred of a usual run; `.ci/run` tries four hundred.
"""

import os

CASES = int(os.environ.get("FUZZ_CASES", "100"))
