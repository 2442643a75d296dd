"""A classifier of texts: what it learns, how it is judged, that a stop changes nothing, and mistakes of one line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

import rxt
from factories import tiny_config, tiny_model, tiny_tokenizer
from rxt.cli.main import main
from rxt.config import EncoderConfig, SpecialTokens
from rxt.data.labelled import LabelledText, read_labelled
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.training.classify import stage
from rxt.training.classify.examples import Example, split
from rxt.training.classify.scores import Scores
from rxt.training.classify.stage import ClassifierLearner, ClassifyStage, LabelledRows, pooled, with_pooled
from rxt.training.stages.base import StageLoss
from rxt.understanding.text_encoder import TextEncoder

TEXTS = [
    {"text": f"{opening} {animal}{end}", "label": "animal" if animal in ("dog", "cat", "cow") else "thing"}
    for opening in ("I see the", "here is a", "look, my", "where is that", "no, not the")
    for animal in ("dog", "cat", "cow", "table", "chair", "spoon")
    for end in ("", ".", "!")
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model(tiny_config(max_length=24)).save_pretrained(folder)
    tiny_tokenizer().save(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "texts.jsonl", TEXTS)


def written(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(model: Path, data: Path, out: Path, *options: str) -> int:
    return main(["train", "classify", "--from", str(model), "--data", str(data), "--out", str(out), *options])


@pytest.mark.slow
@pytest.mark.parametrize(("parallel", "frozen"), [("replicate", True), ("shard", False)])
def test_two_processes_learn_what_one_does(
    model: Path, data: Path, tmp_path: Path, parallel: str, frozen: bool
) -> None:
    """Each with a part of every update's texts, which are not as many of one class as of the other: then a gradient
    would be 0 but for rounding, of which Adam makes a step."""
    options = ("--epochs", "2", "--batch-size", "9", "--parallel", parallel, *(("--frozen",) if frozen else ()))
    for workers in ("1", "2"):
        assert train(model, data, tmp_path / workers, *options, "--workers", workers) == 0
    logs = [(tmp_path / workers / "classify" / "metrics.jsonl").read_text().splitlines() for workers in ("1", "2")]
    one, two = ([json.loads(line)["loss"] for line in log] for log in logs)
    assert len(one) >= 5, "two of updates, three of validations"
    assert two == pytest.approx(one, rel=1e-4)
    scores = [(tmp_path / workers / "scores.json").read_text() for workers in ("1", "2")]
    assert scores[0] == scores[1]


def test_more_processes_than_texts_of_an_update_are_refused(
    model: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(model, data, tmp_path / "run", "--batch-size", "1", "--workers", "2") == 2
    (error,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rxt: ")]
    assert error == "rxt: --batch-size 1: each of 2 workers needs a text of every update"


@pytest.mark.parametrize("frozen", [False, True])
def test_it_learns_and_is_used(model: Path, data: Path, tmp_path: Path, frozen: bool) -> None:
    out = tmp_path / "run"
    options = ["--frozen"] if frozen else ["--epochs", "16", "--learning-rate", "3e-3"]
    assert train(model, data, out, "--batch-size", "16", *options) == 0
    scores = json.loads((out / "scores.json").read_text())
    assert scores["accuracy"] >= 0.9
    assert scores["texts"] == {"train": 82, "held_out": 8}
    before, after = load_file(model / "model.safetensors"), load_file(out / "model" / "model.safetensors")
    same = [torch.equal(before[name], after[name]) for name in after if name.startswith("encoder.layers")]
    assert all(same) if frozen else not any(same)

    classifier = rxt.load_classifier(out / "model")
    texts = ["I see the cow!", "where is that spoon", "look, my dog."]
    found = classifier(texts)
    assert [classifier([text])[0].label for text in texts] == [each.label for each in found]
    ids = torch.tensor([classifier.reader.ids(texts[1])])
    with torch.no_grad():
        chances = rxt.SequenceClassifier.from_pretrained(out / "model")(ids)[0].softmax(-1)
    assert list(found[1].probabilities.values()) == pytest.approx(chances.tolist(), rel=1e-4)
    assert found[1].probability == max(found[1].probabilities.values())

    file = tmp_path / "classes.json"
    assert main(["classify", str(out / "model"), *texts, "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    assert [(each["text"], each["label"]) for each in told] == [
        (text, each.label) for text, each in zip(texts, found, strict=True)
    ]


@pytest.mark.parametrize("frozen", [False, True])
def test_the_result_computes_what_was_trained(frozen: bool) -> None:
    classifier = rxt.SequenceClassifier(tiny_model(tiny_config()).encoder, 3)
    examples = [Example([1, *range(10, 13 + index), 2], index % 3) for index in range(6)]
    reader = TextEncoder(classifier.encoder, tiny_tokenizer())
    means = pooled(classifier, examples, reader)
    learner = ClassifierLearner(classifier, frozen, means)
    torch.nn.init.normal_(classifier.head.weight)
    rows = LabelledRows.of(with_pooled(classifier, examples, reader) if frozen else examples, pad=0)
    with torch.no_grad():
        found = learner.logits(rows)
        torch.testing.assert_close(learner.result()(rows.rows.ids, rows.rows.mask), found, rtol=1e-4, atol=1e-4)
        direct = (means - means.mean(0)) / means.std(0, correction=0) @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(found, direct, rtol=0, atol=2e-2)
    assert found.std(0).min() > 1, "the head sees what makes texts differ"


@pytest.mark.parametrize("name", ["encoder", "encoder_beta"])
def test_published_encoders(reference: Path, data: Path, tmp_path: Path, name: str) -> None:
    """They come without a tokenizer, and with 48 words."""
    words = ["[PAD]", "[BOS]", "[EOS]", "[Q]", "[A]", "?", "dog", "cat", "cow", "table", "chair", "spoon"]
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ChatTokenizer(made, SpecialTokens()).save(tmp_path / "tokenizer.json")
    out = tmp_path / "run"
    options = ["--tokenizer", str(tmp_path), "--frozen", "--epochs", "12", "--batch-size", "8"]
    assert train(reference / name, data, out, *options) == 0
    assert json.loads((out / "scores.json").read_text())["accuracy"] == 1.0
    assert rxt.load_classifier(out / "model")(["the cat"])[0].label == "animal"


def test_a_stop_changes_nothing(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--epochs", "3", "--batch-size", "16"]
    assert train(model, data, tmp_path / "whole", *options) == 0
    plain, calls = ClassifyStage.loss, iter(range(1000))

    def stopping(self: ClassifyStage, *arguments: object) -> StageLoss:
        if torch.is_grad_enabled() and next(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ClassifyStage, "loss", stopping)
        assert train(model, data, tmp_path / "stopped", *options) == 130
    assert "stopped and saved after step 8" in capsys.readouterr().err
    assert not (tmp_path / "stopped" / "model").exists()
    assert train(model, data, tmp_path / "stopped", *options) == 0
    whole, stopped = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert train(model, data, tmp_path / "stopped", *options) == 0, "a finished run is left as it is"


def test_every_text_is_read_once_an_epoch() -> None:
    found = [stage._order(3, epoch, 50) for epoch in range(2)]
    assert all(sorted(order) == list(range(50)) for order in found)
    assert found[0] != found[1]


def test_what_is_held_out() -> None:
    records = [LabelledText(f"{label} {index % 20}", label) for label in "ab" for index in range(30)]
    records += [LabelledText("only", "c")]
    train, held = split(records, 0.1, 0)
    assert len(train) + len(held) == len(records)
    assert {record.label for record in held} == {"a", "b"}, "of a single text nothing can be held out"
    assert not {record.text for record in train} & {record.text for record in held}
    assert len({record.text for record in held}) == 4
    assert split(records[::-1], 0.1, 0)[1] == held[::-1], "whatever the order"
    assert split(records, 0.1, 1)[1] != held


def test_scores() -> None:
    """Against the counts written out: F1 of class 0 is 2·2/(3+2), of 1 2·1/(2+3), of 2 0, and 3 never occurs."""
    predicted, labels = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 1])
    scores = Scores.of(predicted, labels, 4)
    assert scores.accuracy == pytest.approx(3 / 6)
    assert scores.f1[:3].tolist() == pytest.approx([4 / 5, 2 / 5, 0.0])
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 5 + 0) / 3)
    assert scores.most_frequent == pytest.approx(3 / 6)


def test_labels_in_files(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerows([["label", "text"], ["1", 'say "a, b"'], ["0", "two\nlines"]])
    assert list(read_labelled(path)) == [LabelledText('say "a, b"', "1"), LabelledText("two\nlines", "0")]
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": True}, {"text": "c", "label": " x ", "id": 3}]
    found = read_labelled(written(tmp_path / "texts.jsonl", rows))
    assert [record.label for record in found] == ["1", "true", "x"]
    assert found.ignored_keys == {"id": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,label\na,b,c\n", ":2: holds 3 values, but the first line names 2 columns"),
        ("x.csv", "text,class\na,b\n", ":2: label: missing"),
        ("x.csv", "text,label\n", ": holds no record"),
        ("x.csv", 'text,label\n"a"b,c\n', ":2: not CSV (',' expected after"),
        ("x.csv", "text,label\ncaf\udce9,b\n", ": not UTF-8 (byte 0xe9)"),
        ("x.jsonl", '{"text": "a"}\n', ":1: label: missing"),
        ("x.jsonl", '{"text": "", "label": "a"}\n', ":1: text: empty"),
        ("x.jsonl", '{"text": "a", "label": 1.5}\n', ":1: label: must be a string or a whole number, found a number"),
        ("x.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n', ": all texts have the label 'x'"),
        ("x.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n', ": no text can be held out"),
    ],
)
def test_bad_data_is_one_line_and_leaves_nothing(
    name: str, content: str, message: str, model: Path, tmp_path: Path, refused: Callable[[int], str]
) -> None:
    path = tmp_path / name
    path.write_text(content, errors="surrogateescape")
    assert refused(train(model, path, tmp_path / "run")).startswith(f"{path}{message}")
    assert [file.name for file in (tmp_path / "run").iterdir() if file.name != ".lock"] == []


def test_other_mistakes_are_one_line(
    model: Path, data: Path, reference: Path, tmp_path: Path, refused: Callable[[int], str]
) -> None:
    out = tmp_path / "run"
    other = written(tmp_path / "other.jsonl", [{"text": "a", "label": "plant"}])
    found = refused(train(model, data, out, "--validation-data", str(other)))
    assert found.startswith(f"{other}: the label 'plant' does not occur in the training data, which has 'animal', 'th")
    assert refused(train(model, data, out, "--held-out", "1")) == "recipe: held_out must lie between 0 and 1, found 1.0"
    assert refused(train(model, data, out, "--epochs", "0")) == "recipe: epochs must be at least 1, found 0"
    assert refused(train(model, data, out, "--learning-rate", "0")).startswith("recipe: optim.learning_rate must be")
    assert refused(train(model, data, out, "--device", "toaster")).startswith("--device toaster")
    assert "no such folder" in refused(train(tmp_path / "none", data, out))
    assert "holds a MLMHead" in refused(train(reference / "mlm_head", data, out))
    assert refused(main(["train", "classify", "--from", str(model)])).startswith("rxt train classify: name texts")
    assert "it stands first" in refused(main(["train", "--from", str(model), "classify"]))
    assert "--from" in refused(main(["train", "classify", "--data", str(data)]))
    assert refused(main(["classify", str(model), "hello"])).startswith(f"{model}/config.json: this is no classifier")


def test_an_encoder_that_is_its_decoder(data: Path, tmp_path: Path, refused: Callable[[int], str]) -> None:
    """It embeds texts, but has no weights of its own to train."""
    config = tiny_config(max_length=24)
    folder = tmp_path / "shared"
    tiny_model(replace(config, encoder=EncoderConfig.of_decoder(config.decoder))).save_pretrained(folder)
    tiny_tokenizer().save(folder)
    assert refused(train(folder, data, tmp_path / "run")).startswith(f"{folder}: its encoder is its decoder's own")
    together, alone = rxt.embed(folder, ["hello", "hello there, Ann"])[0], rxt.embed(folder, ["hello"])[0]
    torch.testing.assert_close(together, alone)


def test_a_folder_belongs_to_one_run(
    model: Path, data: Path, tmp_path: Path, refused: Callable[[int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(model, data, out, "--epochs", "1") == 0
    made = out / "model"
    capsys.readouterr()
    found = refused(train(model, data, out, "--epochs", "2"))
    assert found.startswith(f"{out}: holds another run: classify.epochs was 1, now 2; choose another --out")
    written(data, TEXTS[1:])
    assert "holds another run: examples was" in refused(train(model, data, out, "--epochs", "1"))
    assert refused(main(["classify", str(made), "a " * 40])).startswith("the text is too long: ")
    assert refused(main(["classify", str(made), " "])) == "the text is empty"
    assert refused(train(made, data, tmp_path / "again")).startswith(f"{made}: is a classifier")
    shutil.rmtree(out / "classify")
    (out / "run.json").unlink()
    assert "the folder is not empty" in refused(train(model, data, out))


def test_texts_that_are_too_long_are_counted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = [{"text": "dog " * 40, "label": "animal"}, {"text": "chair " * 40, "label": "thing"}]
    assert train(model, written(tmp_path / "long.jsonl", [*TEXTS, *long]), tmp_path / "run", "--epochs", "1") == 0
    assert "warning: 2 texts are longer than 24 tokens and are cut\n" in capsys.readouterr().err


def test_classes_have_names() -> None:
    encoder = tiny_model(tiny_config()).encoder
    assert rxt.SequenceClassifier(encoder, 3).classes == ("0", "1", "2")
    for classes in (0, ["a", "a"]):
        with pytest.raises(UserError, match="classes must be one at least, each with a name of its own"):
            rxt.SequenceClassifier(encoder, classes)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[int], str]:
    """The one line of an exit code 2."""

    def line(code: int) -> str:
        out, err = capsys.readouterr()
        assert (code, out, err[:5], err.count("\n")) == (2, "", "rxt: ", 1), err
        return err[5:-1]

    return line
