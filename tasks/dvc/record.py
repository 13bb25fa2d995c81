"""Lock a stage's files while its command runs, commit its outputs afterwards, and save the run as an experiment."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tasks.dvc.probe import Verdict, named, outputs_of, verdict_of
from tasks.dvc.repository import locked, opened


@contextmanager
def held(root: Path, stage: str) -> Iterator[str]:
    """Remove the outputs of `stage`, lock its files against any other `dvc`, and yield its shell command.

    Like `dvc repro`, this does not hold DVC's global lock, which would block other commands for hours. Raises UserError
    when another `dvc` is using the same files, or a dependency is missing.
    """
    from dvc.rwlock import rwlock

    with ExitStack() as stack:
        with locked(root) as repo:
            (found,) = repo.stage.collect(stage)
            found.save_deps()  # raises when one is missing
            found.remove_outs()
            reads, writes = [dep.fs_path for dep in found.deps], [out.fs_path for out in found.outs]
            stack.enter_context(rwlock(repo.tmp_dir, repo.fs, f"the flow, at {stage}", reads, writes, hardlink=False))
        yield " && ".join(found.cmd if isinstance(found.cmd, list) else found.cmd.splitlines())


def record(root: Path, stage: str, key: str | None) -> Verdict:
    """`dvc commit --force`: put the stage's outputs into the cache and its run into dvc.lock and the run-cache.

    Returns the new verdict. Records nothing if the stage's key is no longer `key`, because its inputs have changed:
    DVC would attribute outputs of the old code to the new code (treeverse/dvc#11058).
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
            with repo.lock:  # waits for the lock; `save` alone does not
                pass
            try:
                repo.experiments.save(name=name, force=True)
                break
            except LockError:
                continue
        if push_to:
            repo.experiments.push(push_to, [name], force=True, push_cache=False)
