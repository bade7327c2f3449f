"""Classes, draws, texts and networks that a loss of many classes cannot use: one sentence each, before any work."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from called import call
from test_recipes import blocks

from lossbench.config import plugins
from lossbench.config.registry import DATASETS, MODELS
from lossbench.config.run import Config, Schedule
from lossbench.losses.nce import Nce
from lossbench.losses.sml import Sml
from lossbench.training.fit import check

WORDS = "dataset=words model=word2next"
SENTENCES = [
    (f"{WORDS} dataset.vocabulary=1", "dataset.vocabulary must be >= 2, got 1"),
    (f"{WORDS} dataset.classes=[3]", "dataset.classes must be null or two classes or more, each once, got [3]"),
    (
        f"{WORDS} dataset.path=own.txt dataset.vocabulary=5 dataset.classes=[0,1]",
        "dataset.classes must be null for dataset=words, whose classes are words of the contexts too; "
        "dataset.vocabulary takes fewer, got [0, 1]",
    ),
    (
        f"{WORDS} dataset.path=own.txt dataset.vocabulary=6 loss=nce loss.replacement=false loss.num_sampled=7 "
        "schedule.batch_size=4",
        "loss.num_sampled must be <= 6, the number of classes, with loss.replacement=false, got 7",
    ),
    (
        f"{WORDS} dataset.path=own.txt dataset.vocabulary=3 loss=sampled_lgl "
        "loss.replacement=false loss.num_sampled=4 schedule.batch_size=4",
        "loss.num_sampled must be <= 3, the number of classes, with loss.replacement=false, got 4",
    ),
    (
        f"{WORDS} loss=sampled_softmax loss.proposal=in_batch loss.replacement=false",
        "loss.replacement must be true with loss.proposal=in_batch, which draws no classes, got False",
    ),
    (
        f"{WORDS} dataset.path=own.txt dataset.vocabulary=3 loss=adaptive_softmax schedule.batch_size=4",
        "loss.cutoffs must leave classes to each cluster, got [0.1, 0.4] for 3 classes",
    ),
    (
        f"{WORDS} dataset.path=none.txt",
        "dataset.path must be a text with two different words or more, and none.txt has no words",
    ),
    (f"{WORDS} loss=rg2_features loss.a=-1", "loss.a must be >= 0 and finite, got -1.0"),
    (
        "dataset=words model=cnn2c loss=nce",
        "model=cnn2c reads images, but the data set is of words; model=word2next goes with it",
    ),
]


@pytest.mark.parametrize(("line", "sentence"), SENTENCES, ids=[line for line, _ in SENTENCES])
def test_each_is_one_sentence_and_nothing_is_written(
    line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.txt").write_text("a b c d e f g a b c a b. " * 50)
    (tmp_path / "none.txt").write_text("12 34 -- 56 _")
    monkeypatch.setattr(sys, "argv", ["train.py", *line.split()])
    with pytest.raises(SystemExit) as ended:
        call("train")
    output, errors = capsys.readouterr()
    assert ended.value.code == 1
    assert errors == f"lossbench: {sentence}\n"
    assert output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.txt", "own.txt"]


LAST = "nn.Linear(self.num_hidden, num_classes)"
SEQUENTIAL = "return nn.Sequential"
WRAPPED = f"""class Wrapped(nn.Module):
            def __init__(self, whole):
                super().__init__()
                self.whole = whole

            def forward(self, x):
                return self.whole(x).log_softmax(dim=1)

        return Wrapped(nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes)))
        {SEQUENTIAL}"""
NETWORKS = {
    "the last linear layer, 3, is not the last layer of the network": (LAST, f"{LAST}, nn.Softplus()"),
    "what follows its last linear layer changes the logits": (SEQUENTIAL, WRAPPED),
    "the network has no linear layer": (
        SEQUENTIAL,
        f"return nn.Sequential(nn.Conv2d(1, num_classes, 28), nn.Flatten())\n        {SEQUENTIAL}",
    ),
}


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("reason", [None, *NETWORKS])
def test_a_network_without_features_and_output_layer_is_refused_for_a_loss_of_them(
    own_files: Path, tmp_path: Path, reason: str | None
) -> None:
    texts = blocks("docs/extending.md")
    if reason is not None:
        assert NETWORKS[reason][0] in texts[0]
        texts[0] = texts[0].replace(*NETWORKS[reason])
    for name, text in zip(("mlp.py", "stripes.py"), texts, strict=True):
        (own_files / name).write_text(text)
        plugins.load_plugin(own_files / name)

    def checked(loss: Any) -> None:
        config = Config(DATASETS["stripes"].options(), MODELS["mlp"].options(), loss, Schedule(epochs=1))
        config.runtime.output_dir = str(tmp_path)
        check(config)

    checked(Sml())
    if reason is None:
        checked(Nce())
        return
    said = (
        "model=mlp of mlp.py fails in build or its network: loss=nce needs features and an output layer, but "
        f"{reason}; let the network end with a linear layer, or choose a loss of logits"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        checked(Nce())
    assert list(tmp_path.iterdir()) == [own_files]
