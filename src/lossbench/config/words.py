"""Which words may an option be? One enumeration an option, named in `config.py`'s dataclasses."""

from enum import StrEnum


class Normalization(StrEnum):
    """How pixels in 0..1 are shifted and scaled before the network sees them."""

    mnist = "mnist"  # 0.1307 and 0.3081, as PyTorch's public MNIST example
    dataset = "dataset"  # mean and standard deviation of the own training images, per channel
    none = "none"  # pixels stay in 0..1


class Imbalance(StrEnum):
    """How a training set is made imbalanced on purpose (imbalance.py)."""

    step = "step"  # half of the classes keep one image in `imbalance_ratio`
    long_tail = "long_tail"  # from all of the first class down to one in `imbalance_ratio` of the last


class Precision(StrEnum):
    """Arithmetic of the matrix products and convolutions; weights and losses stay in float32.

    With tf32 the two products within LGL-INR are in it too.
    """

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Init(StrEnum):
    """Initial weights."""

    default = "default"  # what PyTorch's layers do by themselves
    he_fan_out = "he_fan_out"  # He et al. 2015 for convolutions, N(0, 0.01) for linear layers, as torchvision's ResNet


class Head(StrEnum):
    """Layers after CNN2C's 800 features."""

    hidden = "hidden"  # 800-500-10, as PyTorch's public MNIST example of 2019
    direct = "direct"  # 800-10, as printed in Table 2


class Padding(StrEnum):
    """Readings of Table 2 under which CNN5C ends in 512 features."""

    first = "first"  # one pixel around the input of convolution 1
    second = "second"  # ... of convolution 2
    third = "third"  # ... of convolution 3
    valid_k7 = "valid_k7"  # none, and the last pooling is 7x7
    same_adaptive = "same_adaptive"  # one pixel everywhere, and the last pooling takes the whole map


class LglReduction(StrEnum):
    """How LGL's B x K terms become one number."""

    mean = "mean"  # over batch and classes
    sum_classes = "sum_classes"  # mean over the batch, sum over classes


class ClassWeights(StrEnum):
    """How much a sample of each class counts, by the class's size (weighting.py)."""

    inverse = "inverse"
    sqrt_inverse = "sqrt_inverse"
    effective = "effective"  # the effective number of samples


class Counts(StrEnum):
    """Which class sizes N_j LGL-INR divides by."""

    batch = "batch"  # of the batch, as the published implementation
    dataset = "dataset"  # of the training set, as Eq. 11 is printed


class Missing(StrEnum):
    """What happens to a class without samples in the batch when LGL-INR shares out its weights."""

    drop = "drop"  # gets no weight, as the published implementation
    keep = "keep"  # takes part with mean probability 0, and its share is lost


class Profile(StrEnum):
    """Which grid of runs makes the tables."""

    auto = "auto"  # paper where a GPU is present, else quick
    paper = "paper"  # the paper's protocol
    quick = "quick"  # the same pipeline, reduced, on digits


class Selection(StrEnum):
    """Which epoch's test accuracy a table shows."""

    last = "last"
    best = "best"  # selected on the test set, and labelled so
