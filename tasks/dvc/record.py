"""A stage as DVC keeps it: held while its command runs, recorded after it; and the whole run as an experiment."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tasks.dvc.probe import Verdict, named, outputs_of, verdict_of
from tasks.dvc.repository import locked, opened


@contextmanager
def held(root: Path, stage: str) -> Iterator[str]:
    """The shell command of `stage`, whose former outputs are removed; no other `dvc` may touch its files meanwhile.

    As in `dvc repro` DVC's lock is not kept: it would be in the way for hours. Raises UserError when another `dvc` is
    at work on the same files, or one is missing.
    """
    from dvc.rwlock import rwlock

    with ExitStack() as stack:
        with locked(root) as repo:
            (found,) = repo.stage.collect(stage)
            found.save_deps()  # says it when one is missing
            found.remove_outs()
            reads, writes = [dep.fs_path for dep in found.deps], [out.fs_path for out in found.outs]
            stack.enter_context(rwlock(repo.tmp_dir, repo.fs, f"the flow, at {stage}", reads, writes, hardlink=False))
        yield " && ".join(found.cmd if isinstance(found.cmd, list) else found.cmd.splitlines())


def record(root: Path, stage: str, key: str | None) -> Verdict:
    """`dvc commit --force`: put the stage's outputs into the cache and its run into dvc.lock and the run-cache.

    Returns the verdict after that. Nothing is recorded if the stage's key is not `key` any more, as what it reads has
    changed: DVC would bind what was made of the old code to the new code (treeverse/dvc#11058).
    """
    with locked(root) as repo:
        found = named(repo, stage)
        now = verdict_of(repo, found)
        if now.key != key:
            return now
        found.save()
        found.commit()
        found.dump(update_pipeline=False)
        return replace(now, why=(), outputs=outputs_of(found))


def save_experiment(root: Path, name: str, push_to: str | None) -> None:
    """`dvc exp save`, and `dvc exp push` to the git remote `push_to`, without data. Raises UserError."""
    from dvc.lock import LockError

    with opened(root) as repo:
        while True:
            with repo.lock:  # waits, which DVC's own saving does not
                pass
            try:
                repo.experiments.save(name=name, force=True)
                break
            except LockError:
                continue
        if push_to:
            repo.experiments.push(push_to, [name], force=True, push_cache=False)
