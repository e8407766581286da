"""What Metaflow works out in every process although it is the same for all of them."""
import inspect
import os


def warm_up():
    from metaflow import metaflow_version

    inspect.getsource(warm_up)  # compiles the tokenizer's expressions, which Metaflow needs to read a graph
    metaflow_version.get_version()  # asks git about Metaflow's own folder
    try:
        from metaflow import metaflow_git
    except ImportError:
        return  # before 2.17 nothing is asked about the flow's folder
    asked = getattr(metaflow_git, "_is_in_git_repo", None)
    if asked is not None:
        metaflow_git._is_in_git_repo = lambda path: not outside_git(path) and asked(path)


def outside_git(path):
    """Whether git would find no repository here, without running git; False when only git can tell."""
    if any(name.startswith("GIT_") for name in os.environ):
        return False
    folder = os.path.realpath(path)
    while True:
        if os.path.lexists(os.path.join(folder, ".git")) or os.path.lexists(os.path.join(folder, "HEAD")):
            return False
        parent = os.path.dirname(folder)
        if parent == folder:
            return True
        folder = parent
