"""A process that outlives the step to save its logs (only for datastores that the executor cannot write to)."""
import os
import signal
import sys

# Sent to the whole group: the step obeys them, its supervisor waits for it.
_LEFT_TO_THE_STEP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def supervise(child, afterwards):
    """Forks; `child()` does not return in the new process (it may raise). When it ended `afterwards()`; then ends the same way."""
    _flush()
    handlers = {}
    # Handlers, because an ignored signal would stay ignored in what the child executes.
    for number in _LEFT_TO_THE_STEP:
        handlers[number] = signal.signal(number, lambda *_: None)
    pid = os.fork()
    if pid == 0:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        child()
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    try:
        afterwards()
    finally:
        end_like(status)


def end_like(status):
    """Ends this process with the wait status of another one."""
    _flush()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        _without_core()
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def exit_code(status):
    """As `subprocess` has it: negative for a signal."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _without_core():
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
