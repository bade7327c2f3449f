"""The options of `lossbench compare`: its own, and those of the runs, which Hydra composes for each loss."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches

from lossbench.cli.hydra_main import composed_config, composed_options
from lossbench.config.naming import named_loss
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config
from lossbench.engines.options import Launcher
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.options import SHIPPED, Reproduce
from lossbench.system.spelling import spelled

OWN = ("loss", "baseline", "margin", "seeds", "name", "dry", "quick", "budget_runs", "budget_hours", "results_dir")
"""The options that are the command's own."""

GROUPS = ("dataset", "model", "schedule", "seed", "runtime", "launcher")
"""Options of the runs that are written without a dot."""

EXAMPLE = "lossbench compare loss=focal,sml dataset=kmnist"


@dataclass
class Asked:
    """What `lossbench compare` is asked for.

    Args:
        losses: as given, such as "focal" or "focal(gamma=3)".
        baseline: one of them; None: sml if it is among them, else the first.
        margin: of equivalence, in points.
        seeds: reported runs of each loss and learning rate; None: 5, with quick 3.
        name: of the comparison; None: it follows from data set, network and losses.
        dry: say what would be run, and run nothing.
        quick: a first answer from few images, epochs and learning rates.
        budget_runs: runs after which it stops, to be continued; None: no limit.
        budget_hours: hours after which it stops, likewise.
        results_dir: committed records, which count as done; None: leave them out.
        others: overrides of the runs.
        words: of the command line, as given.
    """

    losses: list[str]
    baseline: str | None = None
    margin: float = 0.25
    seeds: int | None = None
    name: str | None = None
    dry: bool = False
    quick: bool = False
    budget_runs: int | None = None
    budget_hours: float | None = None
    results_dir: str | None = SHIPPED
    others: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results_dir = Reproduce(results_dir=self.results_dir).results_dir


def asked(words: Sequence[str]) -> Asked:
    """What the words of a command line ask for.

    Raises:
        ValueError: one of them is wrong.
    """
    own: dict[str, str] = {}
    others = []
    for word in words:
        key, is_option, value = word.partition("=")
        if not is_option:
            hint = "; lossbench diff shows two runs side by side" if re.fullmatch(r"[\w.-]+", word) else ""
            raise ValueError(f"{word} is no option; an option is written key=value, as in {EXAMPLE}{hint}")
        if key not in OWN:
            others.append(word)
        elif key in own:
            raise ValueError(f"{key} is given twice: {own[key]} and {value}")
        else:
            own[key] = value
    if not own.get("loss"):
        raise ValueError(f"name the losses to compare, as in {EXAMPLE}; lossbench losses lists them")
    for word in others:
        key = word.partition("=")[0].lstrip("+~")
        meant = get_close_matches(key, OWN, n=1, cutoff=0.7) if "." not in key and key not in GROUPS else []
        if meant:
            raise ValueError(f"{word}: there is no option {key}; did you mean {meant[0]}={word.partition('=')[2]}?")
        if key == "seed":
            raise ValueError(f"{word}: the seeds are 0, 1, ...; seeds=N says how many")
        if key in ("dataset", "model") and "," in word:
            raise ValueError(f"{word}: a comparison has one {key}; run it once for each")
        if key == "runtime.budget_min":
            raise ValueError(f"{word}: the budget of a comparison is budget_hours=... or budget_runs=...")
    return Asked(
        _split(own["loss"]),
        own.get("baseline"),
        _number(own, "margin", 0.25),
        _whole(own, "seeds"),
        _name(own.get("name")),
        _flag(own, "dry"),
        _flag(own, "quick"),
        _whole(own, "budget_runs"),
        _number(own, "budget_hours", None),
        None if own.get("results_dir") == "null" else own.get("results_dir", SHIPPED),
        others,
        list(words),
    )


def _split(text: str) -> list[str]:
    """The losses of a list; commas inside parentheses or brackets belong to one loss's options."""
    parts, depth = [""], 0
    for letter in text.strip("[] "):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    named = [re.sub(r"\s", "", part) for part in parts]
    if "" in named:
        raise ValueError(f"loss={text} has an empty place; it is a list such as loss=focal,sml")
    twice = [part for part in named if named.count(part) > 1]
    if twice:
        raise ValueError(f"loss={text} names {twice[0]} twice")
    return named


def _number(own: dict[str, str], key: str, default: float | None) -> float:
    text = own.get(key)
    if text is None or text == "null":
        return default  # type: ignore[return-value]
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, got {text}") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"{key} must be > 0 and finite, got {text}")
    return value


def _whole(own: dict[str, str], key: str) -> int | None:
    text = own.get(key)
    if text is None or text == "null":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"{key} must be a whole number >= 1, got {text}")
    return int(text)


def _flag(own: dict[str, str], key: str) -> bool:
    text = own.get(key, "false")
    if text not in ("true", "false"):
        raise ValueError(f"{key} must be true or false, got {text}")
    return text == "true"


def _name(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", text, re.ASCII):
        raise ValueError(f"name must be letters, digits, '.', '_' and '-', got {spelled(text)}")
    return text


def configs_of(given: Asked) -> dict[str, Config]:
    """The run of each loss with seed 0 at the common learning rate, by the loss's label.

    Raises:
        ValueError: a loss or an option is wrong.
    """
    of_losses = [word for word in given.others if word.lstrip("+~").startswith("loss.")]
    shared = [word for word in given.others if word not in of_losses and not _is_of_launcher(word)]
    found: dict[str, Config] = {}
    used: set[str] = set()
    for text in given.losses:
        name, options = _parsed(text)
        known = {one.name for one in fields(LOSSES[name].options)} if name in LOSSES else set()
        fitting = [word for word in of_losses if word.partition("=")[0].lstrip("+~").split(".")[1] in known]
        used |= set(fitting)
        config = composed_config([*shared, f"loss={name}", *fitting, *(f"loss.{one}" for one in options)], {})
        label = named_loss(config)
        if label in found:
            raise ValueError(f"loss={','.join(given.losses)} has {text} twice, as two of them have the same options")
        found[label] = config
    ignored = [word for word in of_losses if word not in used]
    if ignored:
        raise ValueError(f"{ignored[0]}: none of the losses {', '.join(given.losses)} has this option")
    return found


def launcher_of(given: Asked) -> Launcher:
    """Where the runs are executed.

    Raises:
        ValueError: an option is wrong, or the runs would not be waited for.
    """
    launcher = composed_options([word for word in given.others if _is_of_launcher(word)], {})[1]
    if not getattr(launcher, "wait", True):
        raise ValueError("launcher.wait=false: a comparison's later runs depend on its first ones; leave it out")
    return launcher


def _is_of_launcher(word: str) -> bool:
    return word.startswith(("launcher=", "launcher.", "hydra/launcher=", "hydra.launcher."))


def _parsed(text: str) -> tuple[str, list[str]]:
    """The name and the options of a loss written as "focal(gamma=3)"."""
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", text)
    if match is None:
        raise ValueError(f"loss {spelled(text)} is not written as focal or focal(gamma=3)")
    options = _split(match[2]) if match[2] else []
    wrong = [one for one in options if not re.match(r"\w+=.", one)]
    if wrong:
        raise ValueError(f"loss {spelled(text)}: {spelled(wrong[0])} is no option=value")
    return match[1], options


def comparison_of(given: Asked) -> Comparison:
    """The comparison that is asked for; a quick one has fewer rates, seeds, epochs and images.

    Raises:
        ValueError: a loss or an option is wrong.
    """
    losses = configs_of(given)
    by_text = dict(zip(given.losses, losses, strict=True))
    return Comparison(losses, Rules(_baseline(given, by_text), given.margin / 100, given.seeds or Rules.num_seeds))


def _baseline(given: Asked, by_text: dict[str, str]) -> str:
    """The label of the baseline."""
    if given.baseline is None:
        return by_text.get("sml", next(iter(by_text.values())))
    text = re.sub(r"\s", "", given.baseline)
    if text in by_text:
        return by_text[text]
    named = [label for one, label in by_text.items() if one.partition("(")[0] == text]
    if len(named) != 1:
        which = "more than one" if named else "none"
        raise ValueError(f"baseline={spelled(text)} is {which} of the losses compared: {', '.join(by_text)}")
    return named[0]
