from .numbers import HALF
