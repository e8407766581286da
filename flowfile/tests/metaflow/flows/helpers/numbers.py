HALF = 0.5
DEEP = {"a": {"b": [10, 20, 30]}}


def double(it):
    return it * 2
