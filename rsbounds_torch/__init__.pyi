# The public names, each written once: `rsbounds_torch/__init__.py` imports them on first use from
# where this file says, and type checkers read it.

from .distributed import certify_dataset as certify_dataset
from .lipschitz import lipschitz_upper_bound as lipschitz_upper_bound
from .model import SmoothedClassifier as SmoothedClassifier
from .optimizers import optimize_noise as optimize_noise
from .regressor import SmoothedRegressor as SmoothedRegressor
from .sampling import SampledCounts as SampledCounts
from .training import train as train
