"""Distillation from a stored teacher: a few draws from its distribution over each token, kept before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lessons.records import Lesson
from students.objectives.base import Bench, Desk
from students.objectives.tokens import Lens, TokenObjective
from students.preflight import Checked

if TYPE_CHECKING:
    import torch

__all__ = ["SparseLogits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseLogits(TokenObjective):
    """Random sampling KD: the target of each token is the share of each id among draws from a local teacher.

    The draws are made with replacement, so the target is unbiased, unlike the teacher's k likeliest tokens. They are
    made before training and kept in the user's cache by content of teacher and lesson, so a resumed round, later rounds
    and other runs read them again. The loss is the forward divergence KL(target || student). What they take is noted.
    """

    paper: ClassVar[str] = "arXiv:2503.16870"
    dense: ClassVar[int] = 1
    teacher: str
    """The teacher's model, named as a student's is: a folder, a hub id, `wheel:NAME`. It must read text as the student
    does; that is looked at by encoding probes."""
    draws: int = 50
    """Draws for each token, at most 65,535; the paper's 50 are about 12 different tokens."""

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= 65_535:
            raise ValueError(f"draws must lie in [1, 65535], got {self.draws}")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse a teacher with another vocabulary too."""
        from students.local_teacher import open_teacher

        checked = TokenObjective.check(self, lessons, desk)
        open_teacher(self.teacher, checked, desk)
        return checked

    def prepare(self, bench: Bench) -> None:
        """Store the draws that are not stored yet."""
        from lessons.places import cache_folder
        from students.local_teacher import open_teacher, teacher_model
        from students.sparse import DrawStore

        rows = bench.checked.rows
        teacher = open_teacher(self.teacher, bench.checked, bench.desk)
        path = cache_folder() / "draws" / f"{teacher.fingerprint}.sqlite"
        store = DrawStore(path, teacher.fingerprint, self.draws, bench.vocabulary)
        missing = store.missing(rows)
        if missing:
            model = teacher_model(teacher, bench)
            for _ in store.fill(model, missing, int(bench.desk.tokenizer.pad_token_id)):
                pass
        bench.kept = store
        tokens = sum(len(row.completion) for row in {store.key(row): row for row in rows}.values())
        bench.notes["bytes stored for a token"] = store.size(rows) / tokens
        bench.notes["lessons whose draws were stored already"] = len(rows) - len(missing)

    def token_losses(self, lens: Lens) -> "torch.Tensor":
        """Return KL(target || student) [asked]."""
        import torch

        from students.divergence import sparse_kl
        from students.scoring import IGNORED
        from students.sparse import Target

        asked: list[Target] = []
        for row, place in enumerate(lens.places):
            own = lens.bench.checked.rows[place]
            wanted = lens.labels[row, len(own.prompt) : len(own)] != IGNORED
            asked += [target for target, one in zip(lens.bench.kept.read(own), wanted.tolist(), strict=True) if one]
        most = max(len(target.tokens) for target in asked)
        tokens, shares = torch.zeros((len(asked), most), dtype=torch.long), torch.zeros((len(asked), most))
        for place, target in enumerate(asked):
            tokens[place, : len(target.tokens)] = torch.tensor(target.tokens)
            shares[place, : len(target.tokens)] = torch.tensor(target.counts) / self.draws
        where = lens.labels.device
        return sparse_kl(shares.to(where), tokens.to(where), torch.log_softmax(lens.logits, -1))
